"""What is remembered of objects by themselves."""

from feedback_gateway.memo import Memo


def test_the_very_same_objects_are_known_again() -> None:
    """What was made of them is found."""
    memo: Memo[str] = Memo(most=2)
    schema: dict[str, int] = {}

    memo.keep("made", schema, None)

    assert memo.find(schema, None) == "made"


def test_equal_objects_are_others() -> None:
    """Comparing what they hold would cost what remembering saves."""
    memo: Memo[str] = Memo(most=2)

    memo.keep("made", {"type": "object"})

    assert memo.find({"type": "object"}) is None


def test_objects_that_are_gone_are_never_taken_for_others() -> None:
    """What is remembered lives on, so that no new object can have its place in memory."""
    memo: Memo[int] = Memo(most=1_000)

    for number in range(1_000):
        memo.keep(number, [number])

    assert all(memo.find([number]) is None for number in range(1_000))


def test_only_the_last_ones_are_remembered() -> None:
    """The oldest makes room."""
    memo: Memo[int] = Memo(most=2)
    keys = [[number] for number in range(3)]

    for number, key in enumerate(keys):
        memo.keep(number, key)

    assert [memo.find(key) for key in keys] == [None, 1, 2]
