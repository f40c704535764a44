"""Rules files: what is in force, which rule is for what, and what is said of each mistake, with its line."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.alarms.rule_keys import EVERY, OPTIONS, keys_of
from pipelines.alarms.rules import Rule, Rules, RulesError, defaults, parse
from schemas.alarms import RATE_SIGNALS, SIGNALS
from schemas.counters import DIMENSIONS

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy" / "alarms.example.toml"


def rule(text: str, name: str = "complaint_rate") -> Rule:
    return parse(f"[[rule]]\n{text}", "r.toml").by_name[name]


def refused(text: str) -> str:
    with pytest.raises(RulesError) as caught:
        parse(text, "r.toml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_limits_of_ses_and_gmail_are_the_programs_own() -> None:
    own = defaults()
    assert own.by_name["complaint_rate"].limits == (("warning", 0.001), ("critical", 0.003))
    assert own.by_name["hard_bounce_rate"].limits == (("warning", 0.05), ("critical", 0.1))
    assert {rule.signal for rule in own.in_force} == set(SIGNALS)
    assert own.by_name["complaint_rate"].threshold == 8760
    assert {each.name for each in own.surveyed} == {
        "delivery_latency",
        "traffic_stopped",
        "dmarc_failure",
        "unexpected_relay",
        "pipeline",
    }
    assert own.dimensions == ("account", "tenant", "campaign", "provider")
    assert [each.name for each in own.of("provider", "gmail")] == ["reputation_block"]
    assert own.of("outgoing_ip", "192.0.2.1") == ()
    assert parse("", "r.toml") == own
    for each in own.in_force:
        assert set(each.options) == set(OPTIONS.get(each.signal, ()))


def test_what_a_rule_leaves_out_is_as_in_the_programs_own() -> None:
    changed = rule('name = "complaint_rate"\nwarning = 0.002\nmean_days_between_false_pages = 30')
    assert changed.limits == (("warning", 0.002), ("critical", 0.003))
    assert (changed.threshold, changed.dimensions) == (720, ("account", "tenant", "campaign"))
    mine = rule('name = "vip"\nsignal = "hard_bounce_rate"\nvalues = ["vip-*"]', "vip")
    assert (mine.limits, mine.values) == ((("warning", 0.05), ("critical", 0.1)), ("vip-*",))
    assert rule('signal = "complaint_rate"\ncritical = false').limits == (("warning", 0.001),)
    latency = rule(
        'name = "codes"\nsignal = "delivery_latency"\nvalues = ["login"]\npercentile = 0.5', "codes"
    )
    assert (dict(latency.options), latency.limits[0]) == ({"percentile": 0.5}, ("warning", 30))


@pytest.mark.parametrize(
    ("text", "of", "notice"),
    [
        ('name = "a"\nof = "hard_bounce_rate"', "hard_bounce_rate", 0.05),
        ('name = "a"', "complaint_rate", 0.001),
        ('name = "a"\nof = "reject_rate"\nnotice = 0.01', "reject_rate", 0.01),
    ],
)
def test_a_drift_has_the_limit_of_what_drifts(text: str, of: str, notice: float) -> None:
    found = rule(f'signal = "baseline_drift"\n{text}', "a")
    assert (found.of, found.notice, found.warning) == (of, notice, None)


def test_rules_of_the_file_stand_first_and_replace_those_of_their_name() -> None:
    found = parse('[[rule]]\nname = "mine"\nsignal = "reject_rate"\n[[rule]]\nname = "pipeline"', "r.toml")
    names = [each.name for each in found.in_force]
    assert names[:2] == ["mine", "pipeline"]
    assert sorted(names) == sorted({"mine", *defaults().by_name})
    assert (found.source("mine").file, found.source("pipeline").line) == ("r.toml", 4)
    assert found.source("complaint_rate").file == "defaults.toml"


def test_a_rule_can_be_switched_off() -> None:
    found = parse('[[rule]]\nname = "complaint_drift"\nenabled = false', "r.toml")
    assert "complaint_drift" not in found.by_name
    assert len(found.in_force) == len(defaults().in_force) - 1


def test_patterns_choose_values_and_case_matters() -> None:
    found = parse(
        '[[rule]]\nname = "a"\nsignal = "complaint_rate"\nvalues = ["spring-*", "*:us"]\nexcept = ["*-test", "[x]"]\n',
        "r.toml",
    )
    values = ("spring-a", "spring-test", "Spring-a", "b:us", "b:use", "spring-\nx", "", "(other)")
    for _ in range(2):
        covered = [value for value in values if "a" in {each.name for each in found.of("campaign", value)}]
        assert covered == ["spring-a", "b:us", "spring-\nx"]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(["*", "a*", "?b", "[ab]", "a", "*.x"]), min_size=1, max_size=3),
    st.lists(st.sampled_from(["a", "b*", "*x"]), max_size=2),
    st.text("abx.*[]?\n", max_size=4),
)
def test_the_rules_of_a_value_are_those_that_cover_it(
    wanted: list[str], unwanted: list[str], value: str
) -> None:
    rules = Rules(
        [
            Rule("one", "complaint_rate", ("campaign",), tuple(wanted), tuple(unwanted), warning=0.1),
            Rule("two", "complaint_rate", ("account",), warning=0.1),
        ],
        {},
    )
    expected = (rules.by_name["one"],) if rules.by_name["one"].covers(value) else ()
    assert rules.of("campaign", value) == rules.of("campaign", value) == expected


MISTAKES = [
    ("x = 1", 1, "there is no x here"),
    ("\nwarning = 1", 2, "keys belong below a line [[rule]]"),
    ('[rule]\nname = "pipeline"', 1, "in double brackets"),
    ("rule = [1]", 1, "in double brackets"),
    ("[[rule]]\n", 1, "a rule needs a signal"),
    ('[[rule]]\nname = "complaint"\n', 2, "did you mean complaint_rate?"),
    ('[[rule]]\n\nsignal = "complaints_rate"', 3, "did you mean complaint_rate?"),
    (
        '[[rule]]\nname = "dmarc_failure"\ndimensions = ["campaign"]',
        3,
        "dimensions does nothing for dmarc_failure",
    ),
    ('[[rule]]\nname = "dmarc_failure"\nmessages = 0', 3, "messages"),
    ('[[rule]]\nname = "unexpected_relay"\nmails = 0.5', 3, "mails"),
    ('[[rule]]\nname = "unexpected_relay"\nnotice = 2', 3, "notice does nothing for unexpected_relay"),
    ('[[rule]]\nsignal = "complaint_rate"\nname = "a:b"', 3, "has a colon"),
    ('[[rule]]\nsignal = "complaint_rate"\nname = "a b"', 3, "letters, digits"),
    ('[[rule]]\nsignal = "complaint_rate"\nname = ""', 3, "name is empty"),
    ("[[rule]]\nsignal = 7", 2, "signal is text"),
    ('[[rule]]\nname = "pipeline"\n[[rule]]\n# c\nname = "pipeline"', 5, "line 2 has a rule of the name"),
    (
        '[[rule]]\nname = "complaint_rate"\n"warnin" = 0.1',
        3,
        "there is no key warnin (did you mean warning?)",
    ),
    ('[[rule]]\nname = "complaint_rate"\na.b = 1', 3, "there is no key a"),
    ('[[rule]]\nname = "complaint_rate"\n[rule.options]\nx = 1', 3, "there is no key options"),
    ('[[rule]]\nname = "complaint_rate"\npercentile = 0.9', 3, "percentile does nothing for complaint_rate"),
    ('[[rule]]\nname = "complaint_drift"\ncritical = 0.9', 3, "critical does nothing for baseline_drift"),
    ('[[rule]]\nname = "complaint_drift"\nof = "pipeline"', 3, "of is the signal that drifts"),
    (
        '[[rule]]\nname = "x"\nsignal = "baseline_drift"\nof = "reject_rate"',
        1,
        "set notice, or enabled = false",
    ),
    ('[[rule]]\nname = "complaint_rate"\nwarning = 0.5', 3, "warning (0.5) is above critical (0.003)"),
    (
        '[[rule]]\nname = "complaint_rate"\ncritical = 0.0005\n',
        3,
        "warning (0.001) is above critical (0.0005)",
    ),
    ('[[rule]]\nname = "complaint_rate"\nwarning = 1', 3, "a number between 0 and 1, without these, not 1"),
    ('[[rule]]\nname = "complaint_rate"\nwarning = 0', 3, "not 0"),
    ('[[rule]]\nname = "complaint_rate"\nwarning = nan', 3, "not nan"),
    ('[[rule]]\nname = "complaint_rate"\nwarning = true', 3, "without quotes"),
    ('[[rule]]\nname = "complaint_rate"\nwarning = "0.1 %"', 3, "without quotes"),
    ('[[rule]]\nname = "complaint_rate"\nwarning = false\ncritical = false', 1, "a rule needs a limit"),
    ('[[rule]]\nname = "complaint_rate"\nslow_hours = 1.5', 3, "a whole number"),
    ('[[rule]]\nname = "complaint_rate"\nslow_hours = 2', 3, "fast_hours (6) is more than slow_hours (2)"),
    ('[[rule]]\nname = "complaint_rate"\nmean_days_between_false_pages = 0', 3, "from 1 to 36500"),
    ('[[rule]]\nname = "complaint_rate"\nenabled = "no"', 3, "true or false"),
    ('[[rule]]\nname = "complaint_rate"\ndimensions = "campaign"', 3, 'write dimensions = ["…", "…"]'),
    ('[[rule]]\nname = "complaint_rate"\ndimensions = []', 3, "dimensions is empty"),
    (
        '[[rule]]\nname = "complaint_rate"\ndimensions = [\n  "account", # a\n  "campain",\n]',
        5,
        "there is no dimension campain (did you mean campaign?)",
    ),
    ('[[rule]]\nname = "complaint_rate"\nvalues = ["a", 1]', 3, "put each in quotes"),
    ('[[rule]]\nname = "complaint_rate"\nvalues = [\n"a",\n""]', 5, "empty text"),
    ('[[rule]]\nname = "complaint_rate"\nvalues = []', 3, "values is empty"),
    ('[[rule]]\nname = "delivery_latency"\nwarning = 10', 1, "set values"),
    ('[[rule]]\nname = "pipeline"\ndimensions = ["account"]', 3, "dimensions does nothing for pipeline"),
    ('[[rule]]\nname = "pipeline"\nseverity = "critcal"', 3, "did you mean critical?"),
    ('[[rule]]\nname = "pipeline"\ndead_letters = 0', 3, "a whole number from 1"),
    (
        '[[rule]]\nname = "pipeline"\nvalues = ["worker", "sinc"]',
        3,
        "no value sinc of pipeline (did you mean sink?)",
    ),
    ('[[rule]]\nname = "pipeline"\nexcept = ["que"]', 3, "there is no value que of pipeline"),
    ('[[rule]]\nname = "traffic_stopped"\nweeks = 1', 3, "weeks is a whole number from 2 to 52"),
    ("[[rule]\n", 1, "this is no TOML: expected"),
    ('[[rule]]\nname = "a"\nname = "b"\n', 3, "this is no TOML: cannot overwrite a value"),
    ('[[rule]]\nname = "a', 2, "this is no TOML"),
]


@pytest.mark.parametrize(("text", "line", "said"), MISTAKES, ids=[said for _, _, said in MISTAKES])
def test_a_mistake_is_said_with_its_line(text: str, line: int, said: str) -> None:
    sentence = refused(text)
    assert sentence.startswith(f"r.toml, line {line}: ")
    assert said in sentence


def test_queues_and_patterns_are_values_of_the_pipeline() -> None:
    found = rule(
        'name = "pipeline"\nvalues = ["queue events", "q*", "*-dlq", "s*", "dead_letters"]', "pipeline"
    )
    assert found.covers("queue spare")
    assert found.covers("sink")
    assert not found.covers("worker")


def test_even_a_rule_that_is_switched_off_must_be_right() -> None:
    assert "line 3" in refused('[[rule]]\nname = "complaint_rate"\nwarning = 3\nenabled = false')


def test_dimensions_that_are_not_counted_are_refused_where_a_rule_names_them() -> None:
    text = '[[rule]]\nname = "complaint_rate"\ndimensions = ["account",\n"tag:ring"]\n'
    with pytest.raises(RulesError) as caught:
        parse(text, "r.toml").check_dimensions(DIMENSIONS)
    assert str(caught.value).startswith("r.toml, line 4: nothing is counted for the dimension tag:ring")
    counted = parse(text, "r.toml").check_dimensions((*DIMENSIONS, "tag:ring"))
    assert counted.by_name["complaint_rate"].dimensions == ("account", "tag:ring")
    inherited = parse('[[rule]]\nname = "complaint_rate"\nwarning = 0.002', "r.toml")
    narrowed = inherited.check_dimensions(("account",))
    assert narrowed.by_name["complaint_rate"].dimensions == ("account",)
    assert "reputation_block" not in narrowed.by_name
    assert "pipeline" in narrowed.by_name
    assert narrowed.dimensions == ("account",)


def test_hours_that_no_counters_are_kept_of_are_refused_where_a_rule_asks_for_them() -> None:
    text = '[[rule]]\nname = "complaint_rate"\n\nslow_hours = 200'
    with pytest.raises(RulesError) as caught:
        parse(text, "r.toml").check(DIMENSIONS, 7)
    assert str(caught.value).startswith(
        "r.toml, line 4: slow_hours (200) is more than counters are kept: at most 168"
    )
    assert parse(text, "r.toml").check(DIMENSIONS, 9).by_name["complaint_rate"].slow_hours == 200
    assert defaults().check(DIMENSIONS, 2).by_name["complaint_rate"].slow_hours == 48
    assert defaults().check(DIMENSIONS, 14) == defaults()


def test_the_example_names_every_key_of_every_signal_at_the_programs_own_value() -> None:
    text = EXAMPLE.read_text("utf-8")
    tables: list[dict[str, Any]] = tomllib.loads(text)["rule"]
    named: dict[str, set[str]] = {}
    for table in tables:
        own = defaults().by_name.get(table.get("name", ""))
        named.setdefault(str(table.get("signal", own.signal if own else "")), set()).update(table)
    everywhere = {key for keys in named.values() for key in keys}
    assert everywhere == set(EVERY)
    for signal in SIGNALS:
        wanted = set(keys_of(signal)) - {"name", "signal", "enabled", "values", "except"}
        missing = wanted - named[signal]
        assert not missing or signal in RATE_SIGNALS, (signal, missing)
    found = parse(text, "alarms.example.toml").check((*DIMENSIONS, "tag:ring"), 14)
    for name, own in defaults().by_name.items():
        if name != "delivery_latency":
            assert found.by_name[name] == own


scalars: st.SearchStrategy[Any] = st.sampled_from(
    [True, False, 0, 1, -1, 10**6, 0.5, 0.05, 1e-9, float("inf"), float("nan"), {}, {"x": [1]}, []]
) | st.sampled_from(
    ["", "campaign", "tag:a", "tag:", "complaint_rate", "pipeline", "critical", "a:b", "*", "[", "é"]
)
pairs = st.tuples(st.sampled_from([*EVERY, "x"]), scalars | st.lists(scalars, min_size=1, max_size=2))
names = st.sampled_from([*defaults().by_name, "mine"])
tables = st.builds(
    lambda name, signal, others: {"name": name} | ({"signal": signal} if signal else {}) | dict(others),
    names,
    st.sampled_from(["", *SIGNALS]),
    st.lists(pairs, max_size=3),
)


def as_toml(value: Any) -> str:
    """Any value as TOML writes it; a table on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ",\n".join(map(as_toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {as_toml(each)}" for key, each in value.items()) + "}"
    return repr(value)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(tables, max_size=3))
def test_whatever_a_file_says_it_is_understood_or_refused_with_a_line_of_it(
    found: list[dict[str, Any]],
) -> None:
    text = "".join(
        "[[rule]]\n" + "".join(f"{key} = {as_toml(value)}\n" for key, value in table.items())
        for table in found
    )
    refusal = ""
    try:
        rules = parse(text, "r.toml").check(DIMENSIONS, 14)
    except RulesError as error:
        refusal = str(error)
    if refusal:
        said = re.fullmatch(r"r\.toml, line (\d+): \S.*", refusal)
        assert said is not None
        assert 1 <= int(said[1]) <= text.count("\n")
        return
    for each in rules.in_force:
        assert each.signal in SIGNALS
        assert 1 <= each.fast_hours <= each.slow_hours <= 336
        values = [limit for _, limit in each.limits]
        assert values == sorted(values)
        assert bool(values) == (
            each.signal
            not in {
                "traffic_stopped",
                "dmarc_failure",
                "unexpected_relay",
                "pipeline",
            }
        )
