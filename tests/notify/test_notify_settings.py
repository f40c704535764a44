"""`[notify]`: what is wrong with it is said before anything starts; and trying a route out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from connectors.cli.main import parser
from connectors.cli.notify import channels_of
from connectors.errors import SettingsError
from connectors.settings import Settings, load

if TYPE_CHECKING:
    from pathlib import Path

KEY = "whsec_c2VzLXN0cmVhbXMgdGVzdHMgc2VjcmV0IGtleQ=="
WEBHOOK = f'[[notify.routes]]\nname = "w"\nkind = "webhook"\nurl = "http://127.0.0.1:1/x"\nkey = "{KEY}"\n'


def read(folder: Path, text: str) -> Settings:
    path = folder / "settings.toml"
    path.write_text(text)
    return load(path, {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (WEBHOOK * 2, "2 routes are named w"),
        (WEBHOOK.replace('"w"', '"w w"'), "notify.routes"),
        (WEBHOOK.replace('"webhook"', '"fax"'), "kind"),
        (WEBHOOK + 'quiet = ["22-7"]\n', "of the route w quiet has '22-7'"),
        (WEBHOOK + 'timezone = "Mars/Olympus"\n', "timezone 'Mars/Olympus' is not known"),
        (WEBHOOK + 'min_severity = "dire"\n', "min_severity"),
        (WEBHOOK + "timeout_s = 0\n", "timeout_s"),
        (
            WEBHOOK + 'signals = ["hard_*", "complaint_rat"]\n',
            "the route w has 'complaint_rat', which is no signal",
        ),
        (WEBHOOK + "colour = 1\n", "colour"),
        ("[notify]\nmax_age_s = 0\n", "max_age_s"),
    ],
)
def test_unsound_settings_are_refused_in_a_sentence(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.sockets  # urllib3 binds one while it is imported
def test_a_route_that_lacks_something_is_refused_without_telling_a_secret(tmp_path: Path) -> None:
    settings = read(tmp_path, WEBHOOK.replace("http://127.0.0.1:1/x", "not a url"))
    assert KEY not in repr(settings)
    with pytest.raises(SettingsError, match="url of the route w"):
        channels_of(settings.notify)


@pytest.mark.sockets
def test_a_route_is_tried_out(tmp_path: Path, receiver: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(WEBHOOK.replace("http://127.0.0.1:1/x", f"{receiver.url}/x"))

    def command(name: str) -> int:
        args = parser().parse_args(["notify", "--config", str(path), "--test", name])
        return int(args.run(args))

    assert command("w") == 0
    said = capsys.readouterr().out.splitlines()
    assert said == ["page: delivered by w: HTTP 200", "resolve: delivered by w: HTTP 200"]
    assert [(kind, key) for _, kind, key, _ in receiver.got] == [
        ("page", "ses-streams/test:route:w/1"),
        ("resolve", "ses-streams/test:route:w/1"),
    ]
    receiver.status = 403
    assert command("w") == 1
    assert capsys.readouterr().out.startswith("page: not delivered by w: ")
    with pytest.raises(SettingsError, match=r"there is no route x in notify\.routes: there are w"):
        command("x")
