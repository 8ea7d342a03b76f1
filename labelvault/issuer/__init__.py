"""The issuer: the client's software that answers open requests. The only place from which a DEK leaves.

`authorize` decides, purely; `release` accepts nothing but its verdict; `state` keeps `client.db`; `service` joins them.
May import: `errors`, `crypto`, `wire`, `envelope`, `keys`, `ledger`, `relay`.
"""
