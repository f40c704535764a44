from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.reports.conversation import Conversation
from connectors.reports.conversation_text import plain, render
from connectors.reports.tree import Elsewhere, Message, Node, tree, walk

T = 1_767_225_600_000
OURS = "@email.amazonses.com"


def mail(name: str, minute: int, *cited: str, **fields: object) -> Message:
    values = {
        "id": f"mail-{name}",
        "message_id": f"{name}@x",
        "kind": "reply",
        "domain": "x.example",
        "subject": name,
    }
    return Message(direction="in", time=T + minute * 60_000, in_reply_to=cited, **{**values, **fields})  # type: ignore[arg-type]


def sent(name: str, minute: int, **fields: object) -> Message:
    values = {"id": name, "domain": "shop.example", "subject": "Spring", "campaign": "spring"}
    return Message(direction="out", time=T + minute * 60_000, **{**values, **fields})  # type: ignore[arg-type]


def shape(roots: list[Node]) -> list[str]:
    """Each node with its depth before it."""
    return [
        f"{len(more) - 1} {node.message.id if node.message else node.cited}"
        + " duplicate" * node.duplicate
        + " loop" * node.loop
        for node, more in walk(roots)
    ]


def test_answers_stand_below_what_they_answer_by_any_of_its_names() -> None:
    found = tree(
        [
            mail("late", 9, "m1@eu-west-1.amazonses.com"),
            mail("deeper", 5, "first@x"),
            mail("first", 1, "m1" + OURS),
            sent("m1", 0),
            sent("m2", 2, message_id="our-own@shop.example", in_reply_to=("first@x",)),
            mail("to-m2", 3, "our-own@shop.example"),
            mail("by-references", 4, references=("m1" + OURS, "deeper@x", "unknown@y")),
        ]
    )
    assert shape(found) == [
        "0 m1",
        "1 mail-first",
        "2 m2",
        "3 mail-to-m2",
        "2 mail-deeper",
        "3 mail-by-references",
        "1 mail-late",
    ]


def test_ghosts_gather_those_that_cite_them() -> None:
    found = tree([mail("a", 2, "gone@y"), mail("b", 1, "gone@y"), mail("c", 0), mail("d", 3, "m7" + OURS)])
    assert shape(found) == ["0 mail-c", "0 gone@y", "1 mail-b", "1 mail-a", "0 m7" + OURS, "1 mail-d"]


def test_loops_are_broken_and_duplicates_are_marked() -> None:
    looping = [mail("a", 0, "b@x"), mail("b", 1, "a@x"), mail("self", 2, "self@x")]
    assert shape(tree(looping)) == ["0 mail-a loop", "1 mail-b", "0 mail-self"]
    twice = [mail("a", 0), mail("a", 1, id="mail-copy"), mail("b", 2, "a@x")]
    assert shape(tree(twice)) == ["0 mail-a", "1 mail-b", "0 mail-copy duplicate"]


@given(st.lists(st.tuples(st.integers(0, 6), st.lists(st.integers(0, 8), max_size=3)), max_size=12))
def test_every_message_is_in_the_tree_once_whatever_cites_what(drawn: list[tuple[int, list[int]]]) -> None:
    messages = [
        mail(str(name), number, *(f"{each}@x" for each in cited), id=f"mail-{number}")
        for number, (name, cited) in enumerate(drawn)
    ]
    nodes = [node for node, _ in walk(tree(messages))]
    assert sorted(node.message.id for node in nodes if node.message) == sorted(each.id for each in messages)
    names = {each.message_id for each in messages}
    assert not {node.cited for node in nodes if not node.message} & names


def conversation(*messages: Message, inbound: int = 2) -> Conversation:
    return Conversation("aa", "spring", "acme", 1, inbound, 7_384.0, messages)


def test_as_text() -> None:
    told = render(
        conversation(
            sent("m1", 0),
            mail("a", 1, "m1" + OURS, subject="\x1b[2J" + "x" * 90),
            mail("b", 2, "a@x", kind="auto_reply"),
            inbound=5,
        )
    )
    lines = told.splitlines()
    assert (
        lines[0] == "thread aa  campaign spring  tenant acme  1 sent, 5 received  first reply after 2 h 3 min"
    )
    assert lines[1] == 'sent  2026-01-01 00:00:00  shop.example  "Spring"  campaign spring  m1'
    assert lines[2].startswith('└─ received  2026-01-01 00:01:00  reply  x.example  "\ufffd[2Jxxx')
    assert "\x1b" not in told
    assert lines[2].endswith('x…"  mail-a')
    assert lines[3] == '   └─ received  2026-01-01 00:02:00  auto_reply  x.example  "b"  mail-b'
    assert lines[4].startswith("and 3 later ones")


def test_very_deep_ones_stay_readable() -> None:
    chain = [mail("0", 0), *(mail(str(number), number, f"{number - 1}@x") for number in range(1, 1_500))]
    lines = render(conversation(*chain, inbound=1_499)).splitlines()
    assert len(lines) == 1_501
    assert max(map(len, lines)) < 160
    assert lines[-1].startswith("… 1487 levels ")


def test_as_json() -> None:
    told = plain(conversation(sent("m1", 0), mail("a", 1, "m1" + OURS), mail("b", 2, "gone@y")))
    assert (told["thread_id"], told["outbound"], told["time_to_first_reply"]) == ("aa", 1, 7_384.0)
    assert [(each["id"], each["parent"], each["seen"]) for each in told["messages"]] == [
        ("m1", None, True),
        ("mail-a", "m1", True),
        ("<gone@y>", None, False),
        ("mail-b", "<gone@y>", True),
    ]
    assert told["messages"][1]["time"] == "2026-01-01T00:01:00.000+00:00"


def test_what_was_seen_and_does_not_belong_says_why_and_where_it_does() -> None:
    def told(*messages: Message, thread: str = "bb", tenant: str = "acme") -> tuple[str, dict[str, object]]:
        there = Elsewhere(sent("m1", 0, subject="Spring"), thread, tenant)
        found = Conversation("aa", "", "acme", 0, 1, None, messages, {"ses:m1": there})
        return render(found).splitlines()[1], plain(found)["messages"][0]

    line, seen = told(mail("a", 1, references=("m1" + OURS,), subject="Re: Something else"))
    assert line == (
        'sent  2026-01-01 00:00:00  shop.example  "Spring"  campaign spring  m1  (not of this thread: '
        "cited in References alone, under another subject; see thread bb)"
    )
    assert (seen["id"], seen["seen"], seen["thread_id"]) == ("<m1" + OURS + ">", True, "bb")
    assert seen["not_here"] == "cited in References alone, under another subject"
    line, _ = told(mail("a", 1, references=("m1" + OURS,), subject="Re: spring"), thread="")
    assert line.endswith("(not of this thread: not joined, or not yet; it is in no thread)")
    line, _ = told(mail("a", 1, "m1" + OURS), thread="aa")
    assert line.endswith("(beyond the first 1 messages of this thread)")
    line, _ = told(mail("a", 1, "m1" + OURS, subject="Re: Something else"))
    assert "not joined, or not yet" in line
    line, _ = told(mail("a", 1, references=("m1" + OURS,)), tenant="other")
    assert "(not of this thread: another tenant's;" in line
