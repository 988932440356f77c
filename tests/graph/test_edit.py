import pytest

from inception_fast.graph.edit import join_origins


@pytest.mark.parametrize(
    ("origins", "joined"),
    [
        (["block.a.conv", "block.b.conv"], "block.{a.conv, b.conv}"),
        (["block.a.0", "block.a.1", "block.a.2"], "block.a.{0, 1, 2}"),
        (["stem", "block.a"], "{stem, block.a}"),
        (["block", "block.a"], "{block, block.a}"),
        (["block.a", "block.a"], "block.a"),
        (["", "block.a"], "block.a"),
        (["", ""], ""),
    ],
)
def test_origins_share_their_prefix(origins: list[str], joined: str) -> None:
    assert join_origins(origins) == joined
