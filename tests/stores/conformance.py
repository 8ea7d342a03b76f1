"""What every store must do. A backend's tests subclass `StoreConformance` and say how to open one."""

import random
import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from labelvault.crypto.sign import SigningKey
from labelvault.errors import ConflictError, FormatError, NotFoundError, ProjectError, StoreError
from labelvault.stores.base import Store
from labelvault.stores.values import (
    MAX_CLAIM_TTL_S,
    MAX_MESSAGE_BYTES,
    MAX_PAYLOAD_BYTES,
    MAX_STREAM_PAYLOAD_BYTES,
    ItemPart,
    Purged,
    Queue,
    Reply,
)
from labelvault.wire.items import LEAF_BYTES
from labelvault.wire.times import truncate
from tests.stores.samples import (
    BOX,
    CLIENT,
    DAY,
    MINUTE,
    NOW,
    OTHER_CLIENT,
    PROJECT,
    QUEUE,
    Lab,
    item,
    item_id,
    key_of,
    lease_of,
    leases_of,
    pieces_of,
    put_stream,
    receipt,
    snapshot,
    stored,
    task,
    tasks,
)

BAD_IDS = [
    b"",
    b"short",
    bytes(15),
    bytes(17),
    bytes(31),
    bytes(33),
    bytearray(16),
    bytearray(32),
    "a" * 32,
    None,
]
BAD_NUMBERS = [-1, 2**63, True, 1.0, "1"]


class StoreConformance:
    """Tests that hold for every backend."""

    def open_at(self, place, **options) -> Store:
        """Open the store that belongs to a folder, making it if there is none."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path):
        opened = self.open_at(tmp_path)
        yield opened
        opened.close()

    @pytest.fixture
    def reopen(self, tmp_path, store):
        """Close the store and open it anew."""
        opened: list[Store] = []

        def again():
            for each in (store, *opened):
                each.close()
            opened.append(self.open_at(tmp_path))
            return opened[-1]

        yield again
        for each in opened:
            each.close()

    # --- items ---

    @pytest.mark.parametrize("size", [1, 4096, LEAF_BYTES - 1, LEAF_BYTES, LEAF_BYTES + 1, 3 * LEAF_BYTES + 7])
    def test_an_item_comes_back_as_it_went_in(self, store, reopen, size):
        """Header, payload and leaves survive, before and after the store was closed."""
        sealed = item(size=size)
        assert store.put_items([sealed], NOW) == 1
        for opened in (lambda: store, reopen):
            each = opened()
            assert each.read_item(*key_of(sealed)) == ItemPart(sealed.header, size, sealed.payload)
            assert each.read_leaves(*key_of(sealed)) == sealed.leaves

    @pytest.mark.parametrize("offset", [0, 1, LEAF_BYTES - 1, LEAF_BYTES, 2 * LEAF_BYTES + 99, 2 * LEAF_BYTES + 100])
    @pytest.mark.parametrize("length", [0, 1, 100, LEAF_BYTES, LEAF_BYTES + 1, 10 * LEAF_BYTES, 2**63 - 1, None])
    def test_any_range_of_a_payload_can_be_read(self, store, offset, length):
        """A range is what slicing would give, and says the size of the whole."""
        sealed = item(size=2 * LEAF_BYTES + 100)
        store.put_items([sealed], NOW)
        part = store.read_item(*key_of(sealed), offset, length)
        end = None if length is None else offset + length
        assert part == ItemPart(sealed.header, len(sealed.payload), sealed.payload[offset:end])

    @pytest.mark.parametrize(("offset", "length"), [(-1, None), (5001, None), (5001, 0), (0, -1), (0, 2**63)])
    def test_a_range_out_of_bounds_is_refused(self, store, offset, length):
        """Neither a negative range nor one that starts beyond the end."""
        sealed = item(size=5000)
        store.put_items([sealed], NOW)
        with pytest.raises(FormatError):
            store.read_item(*key_of(sealed), offset, length)

    def test_the_largest_payload_is_taken_and_a_larger_one_is_not(self, store):
        """70 MiB is the bound."""
        header = item().header
        most = stored(header, bytes(MAX_PAYLOAD_BYTES))
        assert store.put_items([most], NOW) == 1
        assert store.read_item(*key_of(most), MAX_PAYLOAD_BYTES - 3).data == bytes(3)
        over = stored(item(2).header, bytes(MAX_PAYLOAD_BYTES + 1))
        with pytest.raises(FormatError):
            store.put_items([over], NOW)
        assert store.status(NOW).items == 1

    def test_what_is_not_stored_is_not_found(self, store):
        """Another client, item or version is none."""
        sealed = item()
        store.put_items([sealed], NOW)
        client, item_, version = key_of(sealed)
        for key in ((OTHER_CLIENT, item_, version), (client, item_id(2), version), (client, item_, 2)):
            with pytest.raises(NotFoundError):
                store.read_item(*key)
            with pytest.raises(NotFoundError):
                store.read_leaves(*key)

    def test_C7_putting_again_changes_nothing(self, store):
        """A client that lost the answer sends the same again: nothing is new, at any later time."""
        batch = [*tasks(3), item(9)]
        assert store.put_items(batch, NOW) == 4
        before = snapshot(store)
        assert store.put_items(batch, NOW + 5 * DAY) == 0
        assert store.put_items([*reversed(batch), batch[0]], NOW) == 0
        assert snapshot(store) == before

    def test_one_new_item_among_known_ones_is_stored(self, store):
        """A batch that was cut short can be completed."""
        store.put_items(tasks(3), NOW)
        assert store.put_items([*tasks(4), task(3)], NOW) == 1
        assert store.status(NOW).items == 4

    @pytest.mark.parametrize(
        "other",
        [
            task(1, seed="other bytes"),
            task(1, size=5001),
            task(1, project=bytes(16)),
            task(1, queue=bytes(16)),
            task(1, queue=None),
        ],
        ids=["bytes", "size", "project", "queue", "no queue"],
    )
    def test_a_conflict_leaves_the_whole_batch_unstored(self, store, other):
        """Other bytes, project or queue under a stored version: refused, with all that came along."""
        store.put_items([task(1)], NOW)
        before = snapshot(store)
        with pytest.raises(ConflictError):
            store.put_items([task(2), task(3, queue=b"n" * 16), other, task(4)], NOW)
        assert snapshot(store) == before

    def test_a_conflict_within_a_batch_leaves_it_unstored(self, store):
        """Two payloads for one version in a single batch."""
        before = snapshot(store)
        with pytest.raises(ConflictError):
            store.put_items([task(1), task(2), task(2, seed="other")], NOW)
        assert snapshot(store) == before

    @pytest.mark.parametrize(
        "bad",
        [
            replace(item(2), header=b""),
            replace(item(2), header=item(2).header + b"\0"),
            replace(item(2), header=item(2).header[:-1]),
            replace(item(2), payload=b"", leaves=()),
            replace(item(2), payload=item(2).payload + b"\0"),
            replace(item(2), payload=item(2).payload[:-1]),
            replace(item(2), leaves=()),
            replace(item(2), leaves=item(2).leaves * 2),
            replace(item(2), leaves=(bytes(32),)),
            replace(item(2), leaves=item(3).leaves),
            replace(item(2), queue=b"short"),
            replace(item(2), queue=bytes(17)),
        ],
    )
    def test_a_malformed_item_leaves_the_whole_batch_unstored(self, store, bad):
        """The vault checks headers, sizes and leaves before it takes anything."""
        before = snapshot(store)
        with pytest.raises(FormatError):
            store.put_items([item(1), bad], NOW)
        assert snapshot(store) == before
        assert store.put_items([item(1), item(2)], NOW) == 2

    def test_a_batch_has_a_bound(self, store):
        """More than 10,000 items at once are refused before any is looked at."""
        with pytest.raises(FormatError):
            store.put_items([item(1)] * 10_001, NOW)
        assert store.status(NOW).items == 0

    def test_G7_equal_ids_of_two_clients_are_two_items(self, store):
        """The same item id, project id and version under another client is another item."""
        mine, theirs = task(1), task(1, client=OTHER_CLIENT)
        assert store.put_items([mine, theirs], NOW) == 2
        assert store.read_item(*key_of(mine)).data == mine.payload
        assert store.read_item(*key_of(theirs)).data == theirs.payload

    def test_versions_stand_side_by_side(self, store):
        """A new version does not replace the one that a live lease names."""
        first, second = item(1), item(1, version=2)
        store.put_items([second], NOW)
        store.put_items([first], NOW)
        assert store.read_item(*key_of(first)).data == first.payload
        assert store.read_item(*key_of(second)).data == second.payload

    def test_items_are_listed_in_pages(self, store):
        """Paging by the last one seen yields each item version once, in order of ids."""
        batch = [*tasks(5), task(1, version=2), item(7, client=OTHER_CLIENT), item(8, project=bytes(16))]
        store.put_items(batch, NOW)
        seen, after = [], None
        while page := store.list_items(client=None, project=None, after=after, limit=3):
            assert len(page) <= 3
            seen += page
            after = page[-1]
        assert [(info.client, info.item, info.version) for info in seen] == sorted(map(key_of, batch))
        assert {info.size for info in seen} == {5000}
        assert [info.queue for info in seen].count(QUEUE) == 6

    def test_a_listing_can_be_narrowed(self, store):
        """To a client, to a project, or to both."""
        batch = [item(1), item(2, project=bytes(16)), item(3, client=OTHER_CLIENT)]
        store.put_items(batch, NOW)

        def listed(client, project):
            found = store.list_items(client=client, project=project, after=None, limit=10)
            return {(info.client, info.item, info.version) for info in found}

        assert listed(OTHER_CLIENT, None) == {key_of(batch[2])}
        assert listed(None, PROJECT) == {key_of(batch[0]), key_of(batch[2])}
        assert listed(CLIENT, bytes(16)) == {key_of(batch[1])}
        assert listed(OTHER_CLIENT, bytes(16)) == set()

    def test_G1_an_item_carries_the_hour_and_no_more(self, store):
        """Items that came within one hour can't be told apart by time."""
        hour = NOW.replace(minute=0, second=0, microsecond=0)
        store.put_items([item(1)], hour)
        store.put_items([item(2)], hour + timedelta(minutes=59, seconds=59, microseconds=999999))
        store.put_items([item(3)], hour + timedelta(hours=1))
        found = store.list_items(client=None, project=None, after=None, limit=10)
        times = {info.item: info.stored_at for info in found}
        assert times == {item_id(1): hour, item_id(2): hour, item_id(3): hour + timedelta(hours=1)}

    @pytest.mark.parametrize("bad", BAD_IDS)
    def test_malformed_ids_are_refused_everywhere(self, store, bad):
        """An id of another size or type reaches no backend."""
        store.put_items([task(1)], NOW)
        before = snapshot(store)
        for call in (
            lambda: store.read_item(bad, item_id(1), 1),
            lambda: store.read_item(CLIENT, bad, 1),
            lambda: store.read_leaves(bad, item_id(1), 1),
            lambda: store.read_leaves(CLIENT, bad, 1),
            lambda: store.post(bad, b"m", NOW),
            lambda: store.fetch(bad, after=0, limit=1, now=NOW),
            lambda: store.ack(bad, 1),
            lambda: store.reply(bad, [Reply(1)], NOW),
            lambda: store.reply(BOX, [Reply(1, bad, b"m")], NOW),
            lambda: store.claim(bad, "ada", 60, NOW),
            lambda: store.finish(bad),
            lambda: store.release_claim(bad),
            lambda: store.claim(QUEUE, "ada", 60, NOW, client=bad or b""),
            lambda: store.claim(QUEUE, "ada", 60, NOW, project=bad or b""),
            lambda: store.list_items(client=bad or b"", project=None, after=None, limit=1),
            lambda: store.list_items(client=None, project=bad or b"", after=None, limit=1),
        ):
            with pytest.raises(FormatError):
                call()
        assert snapshot(store) == before

    @pytest.mark.parametrize("bad", BAD_NUMBERS)
    def test_malformed_numbers_are_refused_everywhere(self, store, bad):
        """A number out of bounds or of another type reaches no backend."""
        store.put_items([task(1)], NOW)
        store.post(BOX, b"m", NOW)
        before = snapshot(store)
        for call in (
            lambda: store.read_item(CLIENT, item_id(1), bad),
            lambda: store.read_leaves(CLIENT, item_id(1), bad),
            lambda: store.read_item(CLIENT, item_id(1), 1, bad),
            lambda: store.read_item(CLIENT, item_id(1), 1, 0, bad),
            lambda: store.fetch(BOX, after=bad, limit=1, now=NOW),
            lambda: store.fetch(BOX, after=0, limit=bad, now=NOW),
            lambda: store.ack(BOX, bad),
            lambda: store.reply(BOX, [Reply(bad)], NOW),
            lambda: store.receipts(after=bad, limit=1),
            lambda: store.receipts(after=0, limit=bad),
            lambda: store.acks(after=bad, limit=1),
            lambda: store.acks(after=0, limit=bad),
            lambda: store.tasks(NOW, stuck_s=bad, after=None, limit=1),
            lambda: store.tasks(NOW, stuck_s=None, after=None, limit=bad),
            lambda: store.list_items(client=None, project=None, after=None, limit=bad),
            lambda: store.claim(QUEUE, "ada", bad, NOW),
            lambda: store.purge(NOW, keep_days=bad),
        ):
            with pytest.raises(FormatError):
                call()
        assert snapshot(store) == before

    @pytest.mark.parametrize("limit", [0, 1001])
    def test_pages_have_bounds(self, store, limit):
        """A page holds 1 to 1000."""
        for call in (
            lambda: store.fetch(BOX, after=0, limit=limit, now=NOW),
            lambda: store.receipts(after=0, limit=limit),
            lambda: store.acks(after=0, limit=limit),
            lambda: store.tasks(NOW, stuck_s=None, after=None, limit=limit),
            lambda: store.list_items(client=None, project=None, after=None, limit=limit),
        ):
            with pytest.raises(FormatError):
                call()

    @pytest.mark.parametrize("now", [NOW.replace(tzinfo=None), NOW.astimezone(tz=None).replace(tzinfo=None)])
    def test_R6_a_naive_time_is_refused_everywhere(self, store, now):
        """Whatever needs the time takes an aware one."""
        before = snapshot(store)
        for call in (
            lambda: store.put_items([task(1)], now),
            lambda: store.post(BOX, b"m", now),
            lambda: store.queues(now),
            lambda: store.claim(QUEUE, "ada", 60, now),
            lambda: store.status(now),
            lambda: store.purge(now),
        ):
            with pytest.raises(FormatError):
                call()
        assert snapshot(store) == before

    # --- payloads that come as streams ---

    @pytest.mark.parametrize("size", [1, LEAF_BYTES, 2 * LEAF_BYTES, 2 * LEAF_BYTES + 1, 3 * LEAF_BYTES, 5_000_000])
    def test_a_stream_comes_back_as_it_went_in(self, store, reopen, size):
        """Header, payload, leaves and place in the queue are as if it had come in one piece."""
        sealed = task(size=size)
        assert put_stream(store, sealed) == sealed.leaves
        for opened in (lambda: store, reopen):
            each = opened()
            assert each.read_item(*key_of(sealed)) == ItemPart(sealed.header, size, sealed.payload)
            assert each.read_leaves(*key_of(sealed)) == sealed.leaves
            assert each.queues(NOW) == [Queue(QUEUE, CLIENT, PROJECT, 1, 0, 0)]
            assert each.status(NOW).item_bytes == size
            assert each.status(NOW).stored_bytes >= size
            assert each.check() == []

    @pytest.mark.parametrize("offset", [0, 1, LEAF_BYTES - 1, 2 * LEAF_BYTES + 99, 3 * LEAF_BYTES + 100])
    @pytest.mark.parametrize("length", [0, 1, LEAF_BYTES, LEAF_BYTES + 1, 10 * LEAF_BYTES, 2**63 - 1, None])
    def test_any_range_of_a_stream_can_be_read(self, store, offset, length):
        """A range is what slicing would give, and says the size of the whole."""
        sealed = item(size=3 * LEAF_BYTES + 100)
        put_stream(store, sealed)
        part = store.read_item(*key_of(sealed), offset, length)
        end = None if length is None else offset + length
        assert part == ItemPart(sealed.header, len(sealed.payload), sealed.payload[offset:end])
        for bad in ((len(sealed.payload) + 1, None), (-1, None), (0, -1)):
            with pytest.raises(FormatError):
                store.read_item(*key_of(sealed), *bad)

    def test_C7_the_same_stream_again_changes_nothing(self, store):
        """Also where the first came in one piece, or the second does."""
        for number, size in ((1, 5000), (2, 3 * LEAF_BYTES + 9)):
            sealed = task(number, size=size)
            put_stream(store, sealed)
            before = snapshot(store)
            assert put_stream(store, sealed) == sealed.leaves
            assert store.put_items([sealed], NOW + DAY) == 0
            assert snapshot(store) == before
        sealed = task(3, size=3 * LEAF_BYTES)
        store.put_items([sealed], NOW)
        before = snapshot(store)
        assert put_stream(store, sealed) == sealed.leaves
        assert snapshot(store) == before

    @pytest.mark.parametrize("size", [5000, 3 * LEAF_BYTES + 9])
    def test_another_stream_under_the_same_version_conflicts(self, store, size):
        """Other bytes, project or queue: refused, and what is stored stays."""
        sealed = task(size=size)
        put_stream(store, sealed)
        before = snapshot(store)
        others = [task(size=size, seed="other"), task(size=size + 1), task(size=size, queue=b"n" * 16), item(size=size)]
        for other in others:
            with pytest.raises(ConflictError):
                put_stream(store, other)
            assert snapshot(store) == before
        assert store.check() == []

    def test_G12_a_stream_of_other_pieces_is_refused_whole(self, store):
        """Too little, too much, empty or shifted pieces leave nothing behind."""
        before = snapshot(store)
        sealed = item(size=3 * LEAF_BYTES + 9)
        a, b, c, d = pieces_of(sealed)
        batches: list[tuple[bytes, ...]] = [
            (a, b, c),
            (a, b, c, d, b"x"),
            (a, b, c, d, b""),
            (a, b"", b, c, d),
            (a[:-1], b, c, d),
            (a + b, c, d),
        ]
        for pieces in batches:
            with pytest.raises(FormatError):
                store.put_stream(sealed.header, len(sealed.payload), iter(pieces), None, NOW)
        small = item(size=100)
        batches = [(), (small.payload[:99],), (small.payload, b"x"), (small.payload, small.payload)]
        for pieces in batches:
            with pytest.raises(FormatError):
                store.put_stream(small.header, 100, iter(pieces), None, NOW)
        for header, size, queue in ((b"junk", 100, None), (small.header, 100, b"q"), (small.header, 0, None)):
            with pytest.raises(FormatError):
                store.put_stream(header, size, iter([small.payload]), queue, NOW)
        with pytest.raises(FormatError):
            store.put_stream(small.header, MAX_STREAM_PAYLOAD_BYTES + 1, iter([small.payload]), None, NOW)
        assert snapshot(store) == before

    @pytest.mark.parametrize("size", [5000, 3 * LEAF_BYTES + 9])
    def test_what_the_pieces_raise_goes_through_and_leaves_nothing(self, store, size):
        """A source that fails in the middle, even with an OSError, is no failure of the store."""
        sealed, before = item(size=size), snapshot(store)

        def broken(error):
            yield from pieces_of(sealed)[:-1]
            raise error

        for error in (ProjectError("changed"), OSError("source"), KeyboardInterrupt()):
            with pytest.raises(type(error)) as caught:
                store.put_stream(sealed.header, size, broken(error), None, NOW)
            assert caught.value is error
            assert snapshot(store) == before
        assert put_stream(store, sealed) == sealed.leaves

    def test_streams_of_one_version_from_several_threads_are_one(self, store):
        """Whoever is first stores it; the same is a no-op, and what differs conflicts."""
        same, other = task(size=3 * LEAF_BYTES), task(size=3 * LEAF_BYTES, seed="other")
        outcomes: list[Any] = []

        def put(sealed):
            try:
                outcomes.append((sealed, put_stream(store, sealed)))
            except ConflictError as error:
                outcomes.append((sealed, error))

        threads = [threading.Thread(target=put, args=(each,)) for each in (same, other, same, other, same)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(outcomes) == 5
        winner = next(sealed for sealed, outcome in outcomes if isinstance(outcome, tuple))
        assert all((sealed is winner) == isinstance(outcome, tuple) for sealed, outcome in outcomes)
        assert store.read_item(*key_of(winner)).data == winner.payload
        assert store.check() == []

    # --- messages ---

    def test_messages_come_in_order_and_stay_until_acked(self, store, reopen):
        """Fetching removes nothing; acking ends delivery, durably."""
        for text in (b"one", b"two", b"three"):
            store.post(BOX, text, NOW)
        first = store.fetch(BOX, after=0, limit=10, now=NOW)
        assert [text for _, text in first] == [b"one", b"two", b"three"]
        numbers = [number for number, _ in first]
        assert numbers == sorted(set(numbers))
        assert store.fetch(BOX, after=0, limit=10, now=NOW) == first
        assert store.fetch(BOX, after=numbers[0], limit=1, now=NOW) == [first[1]]
        store.ack(BOX, numbers[1])
        for opened in (lambda: store, reopen):
            each = opened()
            assert each.fetch(BOX, after=0, limit=10, now=NOW) == [first[0], first[2]]

    def test_mailboxes_are_apart(self, store):
        """A message is delivered to its own mailbox, and acked from there only."""
        store.post(BOX, b"mine", NOW)
        store.post(b"o" * 32, b"mine", NOW)
        ((number, _),) = store.fetch(BOX, after=0, limit=10, now=NOW)
        store.ack(b"o" * 32, number)
        assert store.fetch(BOX, after=0, limit=10, now=NOW) == [(number, b"mine")]
        assert len(store.fetch(b"o" * 32, after=0, limit=10, now=NOW)) == 1
        assert store.fetch(b"x" * 32, after=0, limit=10, now=NOW) == []

    def test_C7_posting_or_acking_again_changes_nothing(self, store):
        """A lost answer costs nothing: neither a second copy nor an error."""
        store.post(BOX, b"same", NOW)
        before = snapshot(store)
        store.post(BOX, b"same", NOW + DAY)
        assert snapshot(store) == before
        ((number, _),) = store.fetch(BOX, after=0, limit=10, now=NOW)
        store.ack(BOX, number)
        before = snapshot(store)
        store.ack(BOX, number)
        store.ack(BOX, number + 1000)
        assert snapshot(store) == before

    def test_an_acked_message_can_be_posted_anew(self, store):
        """The identical answer to a repeated request reaches the contractor, under a new number."""
        store.post(BOX, b"answer", NOW)
        ((first, _),) = store.fetch(BOX, after=0, limit=10, now=NOW)
        store.ack(BOX, first)
        store.post(BOX, b"answer", NOW)
        ((second, text),) = store.fetch(BOX, after=0, limit=10, now=NOW)
        assert (second > first, text) == (True, b"answer")

    def test_numbers_are_never_used_twice(self, store, reopen):
        """A reader's cursor stays right when everything before it was purged."""
        store.post(BOX, b"one", NOW)
        ((first, _),) = store.fetch(BOX, after=0, limit=10, now=NOW)
        store.ack(BOX, first)
        assert store.purge(NOW).messages == 1
        again = reopen()
        again.post(BOX, b"two", NOW)
        assert [text for _, text in again.fetch(BOX, after=first, limit=10, now=NOW)] == [b"two"]

    def test_message_sizes_have_bounds(self, store):
        """1 byte to 64 KiB, bytes only."""
        store.post(BOX, bytes(MAX_MESSAGE_BYTES), NOW)
        before = snapshot(store)
        for bad in (b"", bytes(MAX_MESSAGE_BYTES + 1), "text", None, bytearray(b"m")):
            with pytest.raises(FormatError):
                store.post(BOX, bad, NOW)
        assert snapshot(store) == before

    def test_L6_a_flood_fills_one_mailbox_and_not_the_disk(self, tmp_path):
        """One message too many is refused; what waits still waits, and another mailbox takes its own."""
        store = self.open_at(tmp_path / "small", max_pending=3)
        try:
            for number in range(3):
                store.post(BOX, b"%d" % number, NOW)
            ada = SigningKey.generate()
            store.put_items([task(1)], NOW)
            before = snapshot(store)
            for flood in (b"3", receipt(ada)):
                with pytest.raises(StoreError):
                    store.post(BOX, flood, NOW)
            store.post(BOX, b"1", NOW)
            assert snapshot(store) == before
            store.post(b"o" * 32, b"3", NOW)
            store.ack(BOX, store.fetch(BOX, after=0, limit=1, now=NOW)[0][0])
            store.post(BOX, b"3", NOW)
            assert [text for _, text in store.fetch(BOX, after=0, limit=10, now=NOW)] == [b"1", b"2", b"3"]
        finally:
            store.close()

    def test_a_full_mailbox_refuses_what_was_acked_before(self, tmp_path):
        """A message that no longer waits is no reason to swallow it."""
        store = self.open_at(tmp_path / "small", max_pending=1)
        try:
            store.post(BOX, b"answer", NOW)
            store.ack(BOX, store.fetch(BOX, after=0, limit=1, now=NOW)[0][0])
            store.post(BOX, b"another", NOW)
            with pytest.raises(StoreError):
                store.post(BOX, b"answer", NOW)
            assert [text for _, text in store.fetch(BOX, after=0, limit=10, now=NOW)] == [b"another"]
        finally:
            store.close()

    # --- replies ---

    def test_replies_are_posted_and_what_they_answer_is_not_delivered_any_more(self, store, reopen):
        """Answered, only taken, or said without a question: each is done, in order, and durable."""
        for text in (b"ask", b"noise", b"kept"):
            store.post(BOX, text, NOW)
        (ask, _), (noise, _), kept = store.fetch(BOX, after=0, limit=10, now=NOW)
        ada = SigningKey.generate()
        store.put_items([task(1)], NOW)
        other = b"o" * 32
        replies = [Reply(ask, other, b"answer"), Reply(noise), Reply(None, other, receipt(ada)), Reply(ask + 1000)]
        for _ in range(2):
            assert store.reply(BOX, replies, NOW) == []
        again = reopen()
        assert again.fetch(BOX, after=0, limit=10, now=NOW) == [kept]
        assert [text for _, text in again.fetch(other, after=0, limit=10, now=NOW)] == [b"answer", receipt(ada)]
        assert len(again.receipts(after=0, limit=10)) == 1

    def test_a_reply_that_is_refused_leaves_its_message_waiting(self, tmp_path):
        """A full mailbox keeps back its own, and no other's."""
        store = self.open_at(tmp_path / "small", max_pending=2)
        try:
            full, other = b"f" * 32, b"o" * 32
            for text in (b"one", b"two"):
                store.post(BOX, text, NOW)
                store.post(full, text, NOW)
            first, (second, _) = store.fetch(BOX, after=0, limit=10, now=NOW)
            assert store.reply(BOX, [Reply(first[0], full, b"no"), Reply(second, other, b"yes")], NOW) == [0]
            assert store.fetch(BOX, after=0, limit=10, now=NOW) == [first]
            assert [text for _, text in store.fetch(full, after=0, limit=10, now=NOW)] == [b"one", b"two"]
            assert [text for _, text in store.fetch(other, after=0, limit=10, now=NOW)] == [b"yes"]
        finally:
            store.close()

    def test_replies_of_which_one_is_malformed_change_nothing(self, store):
        """All or none, when it isn't a mailbox that refuses."""
        store.post(BOX, b"ask", NOW)
        ((number, _),) = store.fetch(BOX, after=0, limit=10, now=NOW)
        before = snapshot(store)
        for bad in (Reply(-1), Reply(None, b"", b"m"), Reply(None, BOX, b""), Reply(None, BOX, b"m" * (64 * 1024 + 1))):
            with pytest.raises(FormatError):
                store.reply(BOX, [Reply(number, b"o" * 32, b"answer"), bad], NOW)
            assert snapshot(store) == before

    def test_whoever_watches_hears_of_each_change(self, store):
        """The first answer is yes; then a change is told once, and silence is a no."""
        with store.watch() as changed:
            assert changed()
            assert not changed()
            for text in (b"one", b"two"):
                store.post(BOX, text, NOW)
                assert changed()
                store.reply(BOX, [Reply(number) for number, _ in store.fetch(BOX, after=0, limit=10, now=NOW)], NOW)
                assert changed()
                assert not changed()

    # --- receipts ---

    def test_a_receipt_that_passes_is_kept(self, store, reopen):
        """The vendor can pay on it without asking the issuer, also after the message was acked and purged."""
        ada = SigningKey.generate()
        store.put_items([task(1)], NOW)
        store.post(BOX, receipt(ada, event="opened"), NOW)
        store.post(BOX, receipt(ada, at=NOW - DAY), NOW + MINUTE)
        for number, _ in store.fetch(BOX, after=0, limit=10, now=NOW):
            store.ack(BOX, number)
        store.purge(NOW + 9 * DAY)
        opened, closed = reopen().receipts(after=0, limit=10)
        assert (opened.contractor, opened.client, opened.project) == (ada.public_key, CLIENT, PROJECT)
        assert (opened.lease_id, opened.item, opened.event, opened.erased) == (
            b"l" * 32,
            item_id(1),
            "opened",
            None,
        )
        assert (closed.event, closed.erased, closed.at) == ("closed", "process-exit", NOW - DAY)
        assert closed.received_at == (NOW + MINUTE).replace(second=0, microsecond=0)
        assert closed.number > opened.number

    def test_receipts_come_in_pages(self, store):
        """A platform that remembers the last number sees each receipt once."""
        ada = SigningKey.generate()
        store.put_items([task(1)], NOW)
        for lease in range(5):
            store.post(BOX, receipt(ada, lease=bytes([lease]) * 32), NOW)
        seen, after = [], 0
        while page := store.receipts(after=after, limit=2):
            seen += [entry.lease_id[0] for entry in page]
            after = page[-1].number
        assert seen == [0, 1, 2, 3, 4]

    def test_R1_a_receipt_counts_once_per_signer_lease_and_event(self, store):
        """Replayed, posted elsewhere or dated anew, the first stands; another lease, event or signer adds."""
        ada, bob = SigningKey.generate(), SigningKey.generate()
        store.put_items([task(1)], NOW)
        store.post(BOX, receipt(ada), NOW)
        first = store.receipts(after=0, limit=10)
        store.post(BOX, receipt(ada), NOW)
        store.post(b"o" * 32, receipt(ada), NOW)
        store.post(BOX, receipt(ada, at=NOW + DAY), NOW)
        assert store.receipts(after=0, limit=10) == first
        store.post(BOX, receipt(bob), NOW)
        store.post(BOX, receipt(ada, event="submitted"), NOW)
        store.post(BOX, receipt(ada, lease=b"m" * 32), NOW)
        assert len(store.receipts(after=0, limit=10)) == 4

    def test_whatever_is_no_signed_receipt_is_opaque(self, store):
        """Bad signatures, other message types and junk are delivered and not interpreted."""
        ada = SigningKey.generate()
        store.put_items([task(1)], NOW)
        good = receipt(ada)
        forged = bytearray(good)
        forged[good.index(b"l" * 32)] ^= 1
        for message in (bytes(forged), good[:-1], good + b"\0", b"receipt", b"\xff" * 300):
            store.post(BOX, message, NOW)
        assert len(store.fetch(BOX, after=0, limit=10, now=NOW)) == 5
        assert store.receipts(after=0, limit=10) == []

    def test_L6_a_receipt_for_an_unknown_item_is_not_kept(self, store):
        """A made-up key can't grow the list of receipts with made-up items."""
        ada = SigningKey.generate()
        store.put_items([task(1)], NOW)
        store.post(BOX, receipt(ada, number=2), NOW)
        store.post(BOX, receipt(ada, number=1, client=OTHER_CLIENT), NOW)
        assert store.receipts(after=0, limit=10) == []
        assert len(store.fetch(BOX, after=0, limit=10, now=NOW)) == 2

    # --- leases issued ahead, and status ---

    def test_a_held_lease_is_handed_out_while_its_task_is_claimed(self, store, reopen):
        """Not before, not after; again on a retry; and nothing is removed by reading."""
        ada = SigningKey.generate()
        box, lease = leases_of(ada), lease_of(ada)
        store.put_items([task(1)], NOW)
        store.post(box, lease, NOW)
        store.post(box, lease, NOW)
        assert store.fetch(box, after=0, limit=10, now=NOW) == []
        claim = store.claim(QUEUE, "whoever", 60, NOW)
        for opened in (lambda: store, lambda: store, reopen):
            each = opened()
            assert [text for _, text in each.fetch(box, after=0, limit=10, now=NOW)] == [lease]
            assert each.fetch(box, after=0, limit=10, now=NOW + MINUTE) == []
        again = reopen()
        again.release_claim(claim.id)
        assert again.fetch(box, after=0, limit=10, now=NOW) == []
        claim = again.claim(QUEUE, "whoever", 60, NOW)
        assert len(again.fetch(box, after=0, limit=10, now=NOW)) == 1
        again.finish(claim.id)
        assert again.fetch(box, after=0, limit=10, now=NOW) == []

    def test_a_claim_in_the_name_of_a_key_hands_out_that_keys_leases_only(self, store):
        """Another contractor's lease for the same task stays where it is."""
        ada, ben = SigningKey.generate(), SigningKey.generate()
        store.put_items([task(1)], NOW)
        for each in (ada, ben):
            store.post(leases_of(each), lease_of(each), NOW)
        store.claim(QUEUE, ada.public_key.hex(), 60, NOW)
        assert len(store.fetch(leases_of(ada), after=0, limit=10, now=NOW)) == 1
        assert store.fetch(leases_of(ben), after=0, limit=10, now=NOW) == []

    def test_G7_a_claim_on_anothers_equal_item_hands_out_nothing(self, store):
        """The claim counts for client and item together."""
        ada = SigningKey.generate()
        store.put_items([task(1), task(1, client=OTHER_CLIENT)], NOW)
        store.post(leases_of(ada), lease_of(ada), NOW)
        store.claim(QUEUE, "ada", 60, NOW, client=OTHER_CLIENT, project=PROJECT)
        assert store.fetch(leases_of(ada), after=0, limit=10, now=NOW) == []
        store.claim(QUEUE, "ada", 60, NOW, client=CLIENT, project=PROJECT)
        assert len(store.fetch(leases_of(ada), after=0, limit=10, now=NOW)) == 1

    def test_only_its_contractors_close_receipt_deletes_a_held_lease(self, store):
        """Not acking, not another key's receipt, not one for opening it; and what is closed is not held anew."""
        ada, ben = SigningKey.generate(), SigningKey.generate()
        box = leases_of(ada)
        store.put_items([task(1)], NOW)
        store.post(box, lease_of(ada), NOW)
        store.claim(QUEUE, "ada", 60, NOW)
        ((number, lease),) = store.fetch(box, after=0, limit=10, now=NOW)
        store.ack(box, number)
        store.post(BOX, receipt(ben, 1), NOW)
        store.post(BOX, receipt(ada, 1, event="opened"), NOW)
        store.post(BOX, receipt(ada, 1, lease=b"m" * 32), NOW)
        store.post(BOX, receipt(ada, 1, client=OTHER_CLIENT), NOW)
        assert store.fetch(box, after=0, limit=10, now=NOW) == [(number, lease)]
        store.post(BOX, receipt(ada, 1), NOW)
        assert store.fetch(box, after=0, limit=10, now=NOW) == []
        store.post(box, lease, NOW)
        assert store.fetch(box, after=0, limit=10, now=NOW) == []
        assert store.status(NOW).pending_messages == 5
        assert store.check() == []

    def test_R6_a_held_lease_ends_at_its_expiry_and_no_later_than_seven_days_after_it_came(self, store):
        """Filtered at once, dropped by a purge; one that claims to live for years is a true one's no more."""
        ada = SigningKey.generate()
        box = leases_of(ada)
        store.put_items([task(1)], NOW)
        store.claim(QUEUE, "ada", 20 * 86400, NOW)
        store.post(box, lease_of(ada, ends=MINUTE), NOW)
        store.post(box, lease_of(ada, lease=b"m" * 32, ends=1000 * DAY), NOW)
        just_before = timedelta(milliseconds=1)
        assert len(store.fetch(box, after=0, limit=10, now=NOW + MINUTE - just_before)) == 2
        assert len(store.fetch(box, after=0, limit=10, now=NOW + MINUTE)) == 1
        assert store.purge(NOW + MINUTE).leases == 1
        assert len(store.fetch(box, after=0, limit=10, now=NOW + 7 * DAY - just_before)) == 1
        assert store.fetch(box, after=0, limit=10, now=NOW + 7 * DAY) == []
        assert store.purge(NOW + 7 * DAY).leases == 1
        assert store.status(NOW).pending_messages == 0
        assert store.check() == []

    def test_a_lease_in_another_mailbox_is_a_message_like_any_other(self, store):
        """The answer to a request waits in its contractor's own mailbox, unclaimed task or not."""
        ada, ben = SigningKey.generate(), SigningKey.generate()
        for box in (BOX, leases_of(ben), leases_of(ada, OTHER_CLIENT)):
            store.post(box, lease_of(ada), NOW)
            ((number, _),) = store.fetch(box, after=0, limit=10, now=NOW)
            store.ack(box, number)
            assert store.fetch(box, after=0, limit=10, now=NOW) == []

    def test_L6_held_leases_have_a_bound(self, tmp_path):
        """They count in their mailbox like all that waits there."""
        store = self.open_at(tmp_path, max_pending=2)
        try:
            ada = SigningKey.generate()
            for lease in (b"1" * 32, b"2" * 32):
                store.post(leases_of(ada), lease_of(ada, lease=lease), NOW)
            before = store.status(NOW)
            with pytest.raises(StoreError):
                store.post(leases_of(ada), lease_of(ada, lease=b"3" * 32), NOW)
            assert store.status(NOW) == before
        finally:
            store.close()

    def test_R5_a_status_drops_the_leases_that_it_revokes_and_no_others(self, store, reopen):
        """Of that client and those grants; posted again, they are not taken."""
        lab, ada = Lab(), SigningKey.generate()
        box, other = leases_of(ada, lab.id), leases_of(ada)
        store.put_items([task(1, client=lab.id), task(1)], NOW)
        for client in (lab.id, CLIENT):
            store.claim(QUEUE, "ada", 3600, NOW, client=client, project=PROJECT)
        revoked = lease_of(ada, client=lab.id)
        alone = lease_of(ada, client=lab.id, lease=b"n" * 32, grant=b"h" * 32)
        stays = lease_of(ada, client=lab.id, lease=b"m" * 32, grant=b"h" * 32)
        for lease in (revoked, alone, stays):
            store.post(box, lease, NOW)
        for mine in (lease_of(ada), lease_of(ada, lease=b"n" * 32)):
            store.post(other, mine, NOW)
        store.post(lab.mailbox, lab.status(revoked=[b"g" * 32], revoked_leases=(b"n" * 32,)), NOW)
        for lease in (revoked, alone):
            store.post(box, lease, NOW)
        for opened in (lambda: store, reopen):
            each = opened()
            assert [text for _, text in each.fetch(box, after=0, limit=10, now=NOW)] == [stays]
            assert len(each.fetch(other, after=0, limit=10, now=NOW)) == 2
            assert each.check() == []

    def test_R5_leases_of_a_frozen_project_wait_until_a_status_thaws_it(self, store, reopen):
        """Of that client and that project; nothing is lost meanwhile."""
        lab, ada = Lab(), SigningKey.generate()
        box, other = leases_of(ada, lab.id), leases_of(ada)
        store.put_items([task(1, client=lab.id), task(1)], NOW)
        for client in (lab.id, CLIENT):
            store.claim(QUEUE, "ada", 3600, NOW, client=client, project=PROJECT)
        store.post(box, lease_of(ada, client=lab.id), NOW)
        store.post(other, lease_of(ada), NOW)
        for minutes, frozen, waiting in ((0, (PROJECT,), 0), (1, (b"z" * 16,), 1), (2, (PROJECT,), 0), (3, (), 1)):
            store.post(lab.mailbox, lab.status(NOW + minutes * MINUTE, frozen=frozen), NOW)
            store = reopen()
            assert len(store.fetch(box, after=0, limit=10, now=NOW)) == waiting
            assert len(store.fetch(other, after=0, limit=10, now=NOW)) == 1

    def test_R5_only_the_newest_status_is_kept(self, store):
        """An older one changes nothing; a newer serial wins over any time; acking removes nothing."""
        lab = Lab()
        first, second = lab.status(), lab.status(NOW + MINUTE)
        restored = lab.status(NOW, serial=2)
        for posted, newest in (
            (first, first),
            (second, second),
            (first, second),
            (second, second),
            (restored, restored),
            (lab.status(NOW + 2 * MINUTE), restored),
        ):
            store.post(lab.mailbox, posted, NOW)
            ((number, text),) = store.fetch(lab.mailbox, after=0, limit=10, now=NOW)
            assert text == newest
            store.ack(lab.mailbox, number)

    def test_a_status_mailbox_takes_nothing_else_once_it_has_one(self, store):
        """What was posted before goes with the first true status; a flood can't hide it afterwards."""
        lab = Lab()
        store.post(lab.mailbox, b"junk", NOW)
        store.post(lab.mailbox, lab.status(), NOW)
        with pytest.raises(StoreError):
            store.post(lab.mailbox, b"junk", NOW)
        assert [text for _, text in store.fetch(lab.mailbox, after=0, limit=10, now=NOW)] == [lab.status()]

    @pytest.mark.parametrize(
        "forged",
        [
            lambda lab: lab.status(NOW + MINUTE, revoked=[b"g" * 32], signer=SigningKey.generate()),
            lambda lab: lab.status(
                NOW + MINUTE, revoked=[b"g" * 32], certificate=lab.certificate(signer=SigningKey.generate())
            ),
            lambda lab: lab.status(NOW + MINUTE, revoked=[b"g" * 32], certificate=lab.certificate(client=CLIENT)),
            lambda lab: lab.status(NOW + MINUTE, revoked=[b"g" * 32], certificate=lab.status()),
            lambda lab: lab.status(NOW + 90 * DAY, revoked=[b"g" * 32]),
            lambda lab: lab.status(NOW - 2 * DAY, revoked=[b"g" * 32]),
            lambda lab: Lab().status(NOW + MINUTE, revoked=[b"g" * 32]),
            lambda lab: Lab().status(NOW + MINUTE, revoked=[b"g" * 32], client=lab.id),
        ],
    )
    def test_R5_a_forged_status_drops_nothing(self, store, forged):
        """Of another signer, certificate, client or time; its true twin drops the lease."""
        lab, ada = Lab(), SigningKey.generate()
        box = leases_of(ada, lab.id)
        store.put_items([task(1, client=lab.id)], NOW)
        store.claim(QUEUE, "ada", 3600, NOW)
        store.post(box, lease_of(ada, client=lab.id), NOW)
        store.post(lab.mailbox, lab.status(), NOW)
        before = snapshot(store, (box, lab.mailbox))
        with pytest.raises(StoreError):
            store.post(lab.mailbox, forged(lab), NOW)
        assert snapshot(store, (box, lab.mailbox)) == before
        store.post(lab.mailbox, lab.status(NOW + MINUTE, revoked=[b"g" * 32]), NOW)
        assert store.fetch(box, after=0, limit=10, now=NOW) == []

    # --- acks ---

    def test_an_ack_that_passes_is_kept(self, store, reopen):
        """The vendor can pay on it, also after the message was acked and purged."""
        lab, ada = Lab(), SigningKey.generate()
        store.put_items([task(1, client=lab.id)], NOW)
        box = lab.acks_to(ada.public_key)
        store.post(box, lab.ack(ada.public_key), NOW + MINUTE)
        store.ack(box, store.fetch(box, after=0, limit=1, now=NOW)[0][0])
        store.purge(NOW + 9 * DAY)
        (found,) = reopen().acks(after=0, limit=10)
        assert (found.contractor, found.client, found.project) == (ada.public_key, lab.id, PROJECT)
        assert (found.lease_id, found.item, found.event) == (b"l" * 32, item_id(1), "answer")
        assert (found.of, found.verdict, found.at) == (b"f" * 32, "accepted", truncate(NOW))
        assert found.received_at == (NOW + MINUTE).replace(second=0, microsecond=0)

    def test_R1_an_ack_counts_once_per_message_and_verdict(self, store):
        """Replayed, dated anew or brought with another certificate, the first stands; pages rise."""
        lab, ada = Lab(), SigningKey.generate()
        box = lab.acks_to(ada.public_key)
        store.put_items([task(1, client=lab.id)], NOW)
        store.post(box, lab.ack(ada.public_key), NOW)
        first = store.acks(after=0, limit=10)
        for change in ({}, {"at": truncate(NOW + MINUTE)}, {"lease_id": b"m" * 32}):
            store.post(box, lab.ack(ada.public_key, **change), NOW + MINUTE)
        assert store.acks(after=0, limit=10) == first
        store.post(box, lab.ack(ada.public_key, of=b"g" * 32), NOW)
        store.post(box, lab.ack(ada.public_key, verdict="late"), NOW)
        seen = store.acks(after=0, limit=2)
        assert [each.verdict for each in seen + store.acks(after=seen[-1].number, limit=2)] == [
            "accepted",
            "accepted",
            "late",
        ]

    def test_a_made_up_ack_is_delivered_and_not_kept(self, store):
        """By another key, another client's certificate, outside its time, in another mailbox, or for no stored item."""
        lab, rival, ada = Lab(), Lab(), SigningKey.generate()
        store.put_items([task(1, client=lab.id)], NOW)
        key, box = ada.public_key, lab.acks_to(ada.public_key)
        good = lab.ack(key)
        for bad in (
            lab.ack(key, signer=ada),
            lab.ack(key, certificate=rival.certificate()),
            lab.ack(key, certificate=rival.certificate(), signer=rival.issuer),
            lab.ack(key, client=rival.id),
            lab.ack(key, at=truncate(NOW + 90 * DAY)),
            lab.ack(key, item=item_id(2)),
            good[:-30] + bytes([good[-30] ^ 1]) + good[-29:],
        ):
            store.post(box, bad, NOW)
        store.post(lab.acks_to(bytes(32)), good, NOW)
        store.post(BOX, good, NOW)
        assert store.acks(after=0, limit=10) == []
        assert len(store.fetch(box, after=0, limit=10, now=NOW)) == 7
        store.post(box, good, NOW)
        assert len(store.acks(after=0, limit=10)) == 1

    # --- tasks ---

    def test_tasks_say_how_far_they_have_come(self, store):
        """Waiting, claimed, expired again, and done; in pages; what is in no queue is none."""
        store.put_items([*tasks(3), item(9)], NOW)
        claimed = store.claim(QUEUE, "ada", 60, NOW)
        store.finish(store.claim(QUEUE, "ben", 60, NOW).id)
        found = {each.item: each for each in store.tasks(NOW, stuck_s=None, after=None, limit=10)}
        assert sorted(each.state for each in found.values()) == ["claimed", "done", "waiting"]
        mine = found[claimed.item]
        assert (mine.client, mine.project, mine.queue, mine.contractor) == (CLIENT, PROJECT, QUEUE, "ada")
        assert (mine.claimed_at, mine.claim_ends_at, mine.opened_at) == (NOW, NOW + MINUTE, None)
        later = store.tasks(NOW + MINUTE, stuck_s=None, after=None, limit=10)
        assert sorted(each.state for each in later) == ["done", "waiting", "waiting"]
        first = store.tasks(NOW, stuck_s=None, after=None, limit=2)
        second = store.tasks(NOW, stuck_s=None, after=first[-1], limit=2)
        assert first + second == list(found.values())
        assert store.tasks(NOW, stuck_s=None, after=second[-1], limit=2) == []

    def test_stuck_tasks_are_claimed_or_opened_long_ago_and_not_ended(self, store):
        """A claim of just now is not stuck; one of two hours ago is, and so is an opening that nothing followed."""
        ada, hours = SigningKey.generate(), timedelta(hours=2)
        store.put_items(tasks(4), NOW)

        def stuck(at):
            return {each.item for each in store.tasks(at, stuck_s=7200, after=None, limit=10)}

        held = store.claim(QUEUE, "ada", 60, NOW)
        rest = [each.item for each in store.tasks(NOW, stuck_s=None, after=None, limit=10) if each.item != held.item]
        numbers = {item_id(number): number for number in range(4)}
        for each in rest[:2]:
            store.post(BOX, receipt(ada, numbers[each], event="opened", lease=each * 2), NOW)
        store.post(BOX, receipt(ada, numbers[rest[1]], lease=rest[1] * 2), NOW)
        assert stuck(NOW + hours - timedelta(seconds=1)) == {rest[0]}
        assert stuck(NOW + hours) == {held.item, rest[0]}
        store.post(BOX, receipt(ada, numbers[rest[0]], event="submitted", lease=rest[0] * 2), NOW)
        store.finish(held.id)
        assert stuck(NOW + hours) == set()

    # --- queues and claims ---

    def test_a_queue_exists_once_a_task_names_it(self, store):
        """Items without a queue make none."""
        store.put_items([item(1)], NOW)
        assert store.queues(NOW) == []
        store.put_items([task(2), task(3), task(4, client=OTHER_CLIENT)], NOW)
        assert store.queues(NOW) == [
            Queue(QUEUE, CLIENT, PROJECT, 2, 0, 0),
            Queue(QUEUE, OTHER_CLIENT, PROJECT, 1, 0, 0),
        ]

    def test_every_task_is_claimed_once(self, store, reopen):
        """Claims are different tasks until none is left, and survive closing the store."""
        store.put_items(tasks(5), NOW)
        claims = [store.claim(QUEUE, f"worker {number}", 60, NOW) for number in range(5)]
        assert {claim.item for claim in claims} == {item_id(number) for number in range(5)}
        assert len({claim.id for claim in claims}) == 5
        assert claims[0].contractor == "worker 0"
        assert claims[0].expires_at == NOW + timedelta(seconds=60)
        for opened in (lambda: store, reopen):
            each = opened()
            assert each.claim(QUEUE, "late", 60, NOW) is None
            assert each.queues(NOW) == [Queue(QUEUE, CLIENT, PROJECT, 0, 5, 0)]

    def test_R6_a_claim_ends_at_its_expiry_and_not_before(self, store):
        """At the last millisecond it holds; at equality the task is open again, for one other claim."""
        store.put_items([task(1)], NOW)
        first = store.claim(QUEUE, "ada", 60, NOW)
        end = NOW + timedelta(seconds=60)
        early = end - timedelta(milliseconds=1)
        assert store.claim(QUEUE, "bob", 60, early) is None
        assert store.queues(early) == [Queue(QUEUE, CLIENT, PROJECT, 0, 1, 0)]
        assert store.queues(end) == [Queue(QUEUE, CLIENT, PROJECT, 1, 0, 0)]
        second = store.claim(QUEUE, "bob", 60, end)
        assert (second.item, second.id == first.id) == (first.item, False)
        assert store.claim(QUEUE, "ada", 60, end) is None

    def test_a_finished_task_is_not_handed_out_again(self, store, reopen):
        """Neither when its claim expires, nor after a purge, nor by releasing it; finishing twice is once."""
        store.put_items(tasks(2), NOW)
        claim = store.claim(QUEUE, "ada", 60, NOW)
        store.finish(claim.id)
        store.finish(claim.id)
        store.release_claim(claim.id)
        store.purge(NOW + DAY)
        store.finish(claim.id)
        again = reopen()
        other = again.claim(QUEUE, "bob", 60, NOW + DAY)
        assert other.item != claim.item
        assert again.claim(QUEUE, "bob", 60, NOW + DAY) is None
        assert again.queues(NOW + DAY) == [Queue(QUEUE, CLIENT, PROJECT, 0, 1, 1)]

    def test_an_expired_claim_still_finishes_if_nobody_took_the_task(self, store):
        """Work that came late is not thrown away."""
        store.put_items([task(1)], NOW)
        claim = store.claim(QUEUE, "ada", 60, NOW)
        assert store.queues(NOW + DAY) == [Queue(QUEUE, CLIENT, PROJECT, 1, 0, 0)]
        store.finish(claim.id)
        assert store.claim(QUEUE, "bob", 60, NOW + DAY) is None

    def test_a_claim_that_was_replaced_finishes_and_releases_nothing(self, store):
        """The former holder can't touch the task of the present one."""
        store.put_items([task(1)], NOW)
        former = store.claim(QUEUE, "ada", 60, NOW)
        present = store.claim(QUEUE, "bob", 60, NOW + DAY)
        before = snapshot(store, now=NOW + DAY)
        with pytest.raises(NotFoundError):
            store.finish(former.id)
        store.release_claim(former.id)
        assert snapshot(store, now=NOW + DAY) == before
        store.finish(present.id)

    def test_a_released_task_is_open_at_once(self, store):
        """Releasing twice, or what never was, changes nothing."""
        store.put_items([task(1)], NOW)
        claim = store.claim(QUEUE, "ada", 60, NOW)
        store.release_claim(claim.id)
        store.release_claim(claim.id)
        store.release_claim(bytes(16))
        with pytest.raises(NotFoundError):
            store.finish(claim.id)
        assert store.queues(NOW) == [Queue(QUEUE, CLIENT, PROJECT, 1, 0, 0)]
        assert store.claim(QUEUE, "bob", 60, NOW).item == claim.item

    def test_an_unknown_queue_is_not_found(self, store):
        """None means that no task is open, and never that the id was mistyped."""
        store.put_items([task(1)], NOW)
        for names in ({}, {"client": CLIENT}, {"project": PROJECT}):
            with pytest.raises(NotFoundError):
                store.claim(bytes(16), "ada", 60, NOW, **names)
        for names in ({"client": OTHER_CLIENT}, {"project": bytes(16)}):
            with pytest.raises(NotFoundError):
                store.claim(QUEUE, "ada", 60, NOW, **names)

    def test_G7_a_client_who_takes_anothers_queue_id_gets_no_place_in_it(self, store):
        """A queue id of two clients must be named with its client; claims then stay within it."""
        store.put_items([task(1), task(2, client=OTHER_CLIENT), task(3, project=bytes(16))], NOW)
        before = snapshot(store)
        with pytest.raises(ConflictError):
            store.claim(QUEUE, "ada", 60, NOW)
        with pytest.raises(ConflictError):
            store.claim(QUEUE, "ada", 60, NOW, client=CLIENT)
        assert snapshot(store) == before
        claim = store.claim(QUEUE, "ada", 60, NOW, client=CLIENT, project=PROJECT)
        assert (claim.client, claim.project, claim.queue, claim.item) == (CLIENT, PROJECT, QUEUE, item_id(1))
        assert store.claim(QUEUE, "ada", 60, NOW, client=CLIENT, project=PROJECT) is None
        assert store.claim(QUEUE, "ada", 60, NOW, client=OTHER_CLIENT).item == item_id(2)

    @pytest.mark.parametrize("contractor", ["", "x" * 201, "\udc80", None, b"ada", "é" * 101])
    def test_contractor_ids_have_bounds(self, store, contractor):
        """1 to 200 bytes of text."""
        store.put_items([task(1)], NOW)
        before = snapshot(store)
        with pytest.raises(FormatError):
            store.claim(QUEUE, contractor, 60, NOW)
        assert snapshot(store) == before
        assert store.claim(QUEUE, "é" * 100, 60, NOW) is not None

    @pytest.mark.parametrize("ttl_s", [0, MAX_CLAIM_TTL_S + 1])
    def test_a_claims_lifetime_has_bounds(self, store, ttl_s):
        """1 s to 30 days."""
        store.put_items(tasks(2), NOW)
        with pytest.raises(FormatError):
            store.claim(QUEUE, "ada", ttl_s, NOW)
        assert store.claim(QUEUE, "ada", 1, NOW) is not None
        assert store.claim(QUEUE, "ada", MAX_CLAIM_TTL_S, NOW) is not None

    def test_C4_threads_that_race_share_out_the_queue(self, store):
        """No task is claimed twice and none is left over."""
        store.put_items(tasks(40, size=10), NOW)
        claimed, start = [], threading.Barrier(4)

        def work(name):
            start.wait()
            while claim := store.claim(QUEUE, name, 60, NOW):
                claimed.append(claim.item)

        threads = [threading.Thread(target=work, args=(f"worker {number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(claimed) == sorted(item_id(number) for number in range(40))

    def test_the_newest_version_says_where_the_task_is(self, store):
        """A task moves with its newest version, whichever came first; one that has no queue takes it out."""
        other = bytes(16)

        def waiting():
            return {queue.id: queue.waiting for queue in store.queues(NOW)}

        store.put_items([task(1)], NOW)
        store.put_items([task(1, version=3, queue=other)], NOW)
        store.put_items([task(1, version=2)], NOW)
        assert waiting() == {QUEUE: 0, other: 1}
        store.put_items([item(1, version=4)], NOW)
        assert waiting() == {QUEUE: 0, other: 0}
        assert store.claim(other, "ada", 60, NOW) is None
        store.put_items([task(1, version=5)], NOW)
        assert waiting() == {QUEUE: 1, other: 0}

    def test_a_new_version_frees_neither_claim_nor_finished_task(self, store):
        """Re-keying a batch while people work changes nothing for them."""
        store.put_items(tasks(3), NOW)
        done, held = store.claim(QUEUE, "ada", 60, NOW), store.claim(QUEUE, "bob", 60, NOW)
        store.finish(done.id)
        store.put_items(tasks(3, version=2), NOW)
        assert store.queues(NOW) == [Queue(QUEUE, CLIENT, PROJECT, 1, 1, 1)]
        store.finish(held.id)
        assert store.queues(NOW) == [Queue(QUEUE, CLIENT, PROJECT, 1, 0, 2)]

    def test_a_submitted_receipt_finishes_the_claim_of_its_signer(self, store):
        """A contractor whom the platform knows by key finishes the task by submitting."""
        ada = SigningKey.generate()
        store.put_items([task(1)], NOW)
        store.claim(QUEUE, ada.public_key.hex(), 60, NOW)
        for event in ("opened", "closed"):
            store.post(BOX, receipt(ada, event=event), NOW)
            assert store.queues(NOW) == [Queue(QUEUE, CLIENT, PROJECT, 0, 1, 0)]
        store.post(BOX, receipt(ada, event="submitted"), NOW)
        assert store.queues(NOW) == [Queue(QUEUE, CLIENT, PROJECT, 0, 0, 1)]

    def test_a_submitted_receipt_of_anyone_else_finishes_nothing(self, store):
        """Whoever makes up a key can't take tasks out of a queue."""
        ada, mallory = SigningKey.generate(), SigningKey.generate()
        store.put_items(tasks(3), NOW)
        first, second = (store.claim(QUEUE, ada.public_key.hex(), 60, NOW) for _ in range(2))
        before = store.queues(NOW)
        for number in range(3):
            store.post(BOX, receipt(mallory, number, event="submitted"), NOW)
            store.post(BOX, receipt(ada, number, client=OTHER_CLIENT, event="submitted"), NOW)
        assert store.queues(NOW) == before
        store.release_claim(first.id)
        store.finish(second.id)

    # --- upkeep ---

    def test_status_counts_what_is_stored(self, store):
        """Clients, items, queues, claims, messages and receipts, with bytes."""
        ada = SigningKey.generate()
        store.put_items([*tasks(2), item(5, size=70), item(6, client=OTHER_CLIENT, size=30)], NOW)
        store.claim(QUEUE, "ada", 60, NOW)
        store.finish(store.claim(QUEUE, "ada", 60, NOW).id)
        closed = receipt(ada)
        store.post(BOX, closed, NOW)
        store.post(BOX, b"12345", NOW)
        store.ack(BOX, store.fetch(BOX, after=0, limit=1, now=NOW)[0][0])
        status = store.status(NOW)
        assert (status.clients, status.items, status.item_bytes, status.queues) == (2, 4, 10_100, 1)
        assert (status.live_claims, store.status(NOW + DAY).live_claims) == (1, 0)
        assert (status.pending_messages, status.acked_messages, status.receipts, status.acks) == (1, 1, 1, 0)
        assert status.message_bytes == len(closed) + 5
        assert status.stored_bytes >= 10_100

    def test_an_empty_store_counts_nothing(self, store):
        """Zero, and not None."""
        assert replace(store.status(NOW), stored_bytes=0) == type(store.status(NOW))(*[0] * 11)

    def test_purge_drops_acked_messages_and_expired_claims_only(self, store):
        """Items, receipts, waiting messages and live claims stay."""
        ada = SigningKey.generate()
        store.put_items(tasks(3), NOW)
        expired = store.claim(QUEUE, "ada", 60, NOW)
        live = store.claim(QUEUE, "bob", 86400, NOW)
        for message in (b"waits", b"acked", receipt(ada)):
            store.post(BOX, message, NOW)
        for number, text in store.fetch(BOX, after=0, limit=10, now=NOW):
            if text != b"waits":
                store.ack(BOX, number)
        before = snapshot(store, now=NOW + MINUTE)
        assert store.purge(NOW + MINUTE) == Purged(messages=2, claims=1)
        after = snapshot(store, now=NOW + MINUTE)
        assert after[:5] == before[:5]
        assert (after[5].acked_messages, after[5].pending_messages) == (0, 1)
        with pytest.raises(NotFoundError):
            store.finish(expired.id)
        store.finish(live.id)
        assert store.purge(NOW + MINUTE) == Purged(messages=0, claims=0)

    def test_purge_keeps_the_last_days_on_request(self, store):
        """`keep_days` counts from when a message was posted."""
        store.post(BOX, b"old", NOW)
        store.post(BOX, b"new", NOW + 2 * DAY)
        for number, _ in store.fetch(BOX, after=0, limit=10, now=NOW):
            store.ack(BOX, number)
        assert store.purge(NOW + 3 * DAY, keep_days=4).messages == 0
        assert store.purge(NOW + 3 * DAY, keep_days=3).messages == 1
        assert store.purge(NOW + 3 * DAY, keep_days=2).messages == 0
        assert store.purge(NOW + 3 * DAY, keep_days=1).messages == 1

    def test_purge_without_days_keeps_nothing_that_a_fast_clock_dated(self, store):
        """Processes' clocks differ: what seems to come from the future is dropped like the rest."""
        store.post(BOX, b"m", NOW + DAY)
        store.ack(BOX, store.fetch(BOX, after=0, limit=1, now=NOW)[0][0])
        assert store.purge(NOW, keep_days=1).messages == 0
        assert store.purge(NOW).messages == 1

    def test_C8_what_is_whole_passes_the_check(self, store):
        """No false alarm, with every kind of object there."""
        ada = SigningKey.generate()
        store.put_items([*tasks(3), item(5, size=2 * LEAF_BYTES + 1)], NOW)
        store.claim(QUEUE, "ada", 60, NOW)
        for message in (b"m", receipt(ada)):
            store.post(BOX, message, NOW)
        store.ack(BOX, store.fetch(BOX, after=0, limit=1, now=NOW)[0][0])
        assert store.check() == []

    def test_a_closed_store_does_nothing(self, store):
        """Every call is refused, and closing again is none."""
        store.put_items([task(1)], NOW)
        store.close()
        store.close()
        for call in (
            lambda: store.put_items([task(2)], NOW),
            lambda: put_stream(store, task(2)),
            lambda: put_stream(store, task(2, size=3 * LEAF_BYTES)),
            lambda: store.read_item(CLIENT, item_id(1), 1),
            lambda: store.read_leaves(CLIENT, item_id(1), 1),
            lambda: store.list_items(client=None, project=None, after=None, limit=1),
            lambda: store.post(BOX, b"m", NOW),
            lambda: store.fetch(BOX, after=0, limit=1, now=NOW),
            lambda: store.ack(BOX, 1),
            lambda: store.reply(BOX, [Reply(1)], NOW),
            lambda: store.watch().__enter__(),
            lambda: store.receipts(after=0, limit=1),
            lambda: store.queues(NOW),
            lambda: store.claim(QUEUE, "ada", 60, NOW),
            lambda: store.finish(bytes(16)),
            lambda: store.release_claim(bytes(16)),
            lambda: store.status(NOW),
            lambda: store.purge(NOW),
            lambda: store.check(),
        ):
            with pytest.raises(StoreError):
                call()

    @pytest.mark.parametrize("seed", range(6))
    def test_random_schedules_agree_with_a_model(self, store, seed):
        """Claims, finishes, releases, expiries and purges in any order give what a dict would give."""
        source = random.Random(seed)
        now, count = NOW, 6
        store.put_items(tasks(count, size=10), now)
        model: dict[bytes, Any] = {item_id(number): None for number in range(count)}  # None, (claim, expires) or "done"
        issued = []
        for _ in range(150):
            now += timedelta(seconds=source.choice([0, 1, 5]))
            live = {key: state for key, state in model.items() if isinstance(state, tuple) and state[1] > now}
            open_ = {key for key, state in model.items() if state != "done" and key not in live}
            match source.choice(["claim", "claim", "finish", "release", "purge"]):
                case "claim":
                    ttl_s = source.choice([1, 5, 20])
                    claim = store.claim(QUEUE, "ada", ttl_s, now)
                    assert (claim is None) == (not open_)
                    if claim is not None:
                        assert claim.item in open_
                        model[claim.item] = (claim.id, claim.expires_at)
                        issued.append(claim)
                case "finish" if issued and source.random() < 0.2:
                    claim = source.choice(issued)
                    state = model[claim.item]
                    if isinstance(state, tuple) and state[0] == claim.id:
                        store.finish(claim.id)
                        model[claim.item] = "done"
                        issued.remove(claim)
                    else:
                        with pytest.raises(NotFoundError):
                            store.finish(claim.id)
                case "release" if issued:
                    claim = source.choice(issued)
                    store.release_claim(claim.id)
                    state = model[claim.item]
                    if isinstance(state, tuple) and state[0] == claim.id:
                        model[claim.item] = None
                case "purge":
                    expired = {key for key in open_ if model[key] is not None}
                    assert store.purge(now).claims == len(expired)
                    model.update(dict.fromkeys(expired))
            done = sum(state == "done" for state in model.values())
            live_count = sum(isinstance(state, tuple) and state[1] > now for state in model.values())
            expected = Queue(QUEUE, CLIENT, PROJECT, count - done - live_count, live_count, done)
            assert store.queues(now) == [expected]
