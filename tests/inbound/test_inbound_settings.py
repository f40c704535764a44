"""`[inbound]`: what cannot be meant is refused with a sentence; and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from connectors.cli import wiring
from connectors.errors import SettingsError
from connectors.inbound.budget import Budget
from connectors.inbound.lobby import LABELS, OTHERS, Lobby
from connectors.inbound.patterns import repeats_repetition
from connectors.inbound.settings import policy_of
from connectors.settings import load
from pipelines.intake.policy import NormalisePolicy

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = {"SES_STREAMS_PRIVACY__PII": "plain"}


def loaded(tmp_path: Path, text: str) -> Any:
    (tmp_path / "s.toml").write_text(text)
    return load(tmp_path / "s.toml", PLAIN)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[[inbound.tenants]]\nsubdomain_of = "a.example"\nheader = "X-T"', "either subdomain_of or header"),
        ("[[inbound.tenants]]", "either subdomain_of or header"),
        ('[[inbound.conversations]]\nname = "a"\npattern = "("', "the pattern of a is no regular expression"),
        ('[[inbound.conversations]]\nname = "a:b"\npattern = "x"', "'a:b' is no name"),
        (2 * '[[inbound.conversations]]\nname = "a"\npattern = "x"\n', "'a' is no name"),
        (
            "[[inbound.conversations]]\nname = 'a'\npattern = 'case-([a-z0-9]+-?)+@x'",
            "of a repeats what repeats",
        ),
        ('[inbound]\nobjects = "mails/in"', "write s3://bucket/prefix"),
        ('[inbound]\nattachments = "gs://x"', "s3://bucket/prefix or a directory"),
        ('[inbound]\nattachments = "s3:/bucket/x"', "s3://bucket/prefix or a directory"),
        ('[inbound]\nlist_addresses = ["unsubscribe"]', "'unsubscribe' is no address"),
        ("[inbound]\nmax_mb = 41", "inbound.max_mb"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        loaded(tmp_path, text)


@pytest.mark.parametrize(
    ("pattern", "repeats"),
    [
        (r"case-(\d+)\+.*@support\.example\.com", False),
        (r"(\+\d+)@sms\.example\.com", False),
        (r"(?:a{1,3})+", False),
        (r"(a+)?b*", False),
        (r"(a\+)+[(+]+", False),
        (r"[]+)]*(x)+", False),
        (r"(a+)+", True),
        (r"((?:a|b*)c?)*", True),
        (r"(a{2,})+", True),
        (r"(a*){3,}", True),
    ],
)
def test_what_could_take_for_ever_is_known(pattern: str, repeats: bool) -> None:  # noqa: FBT001
    assert repeats_repetition(pattern) is repeats


def test_mails_and_events_are_read_by_one_policy(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        '[inbound]\nobjects = "s3://mails/in"\nmax_mb = 5\nlist_addresses = ["Unsub+*@x.example"]\n'
        '[[inbound.tenants]]\nsubdomain_of = ".In.example."\n',
    )
    policy = wiring.policy_of(settings)
    assert policy.mail_objects == ("mails", "in/")
    assert policy.outbound is not None
    assert policy.outbound.tenants[0].subdomain_of == "in.example"
    mails = policy_of(settings.inbound, NormalisePolicy(pii="plain", pii_key=b"k"))
    assert (mails.limits.size, mails.list_addresses, mails.pii_key) == (5 << 20, ("unsub+*@x.example",), b"k")
    without = wiring.policy_of(loaded(tmp_path, "[inbound]\nthreads = false"))
    assert (without.outbound, without.mail_objects) == (None, None)


def test_numbers_are_of_so_many_tenants() -> None:
    done: list[int] = []
    lobby = Lobby([done.append], 1000, 1 << 30)
    for number in range(LABELS + 50):
        assert lobby.offer(str(number), number) == 0
    while lobby.busy:
        pass
    assert lobby.close() == []
    assert sorted(done) == list(range(LABELS + 50))
    assert len(lobby.numbers.read) == LABELS + 1
    assert lobby.numbers.read[OTHERS] == 50
    assert set(lobby.numbers.now_waiting().values()) == {0}


def test_a_budget_lets_in_what_fits_and_what_never_does_alone() -> None:
    import threading

    budget, inside, order = Budget(100), threading.Semaphore(0), []
    leave = threading.Event()

    def use(size: int) -> None:
        with budget.of(size):
            order.append(size)
            inside.release()
            leave.wait(60)

    threads = [threading.Thread(target=use, args=(size,)) for size in (60, 30)]
    for thread in threads:
        thread.start()
        inside.acquire(timeout=60)
    whole = threading.Thread(target=use, args=(5000,))
    whole.start()
    assert not inside.acquire(timeout=0.05)
    leave.set()
    assert inside.acquire(timeout=60)
    for thread in (*threads, whole):
        thread.join(60)
    assert order == [60, 30, 5000]
