"""Speed, memory and size of LabelVault beside its peers and beside what the machine allows; see docs/performance.md."""
