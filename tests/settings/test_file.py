"""The configuration: what is refused and in which words, and that no secret is in them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from auditor.errors import ConfigError, ConfigFault
from auditor.settings.alerts import PagerDutySettings, SlackSettings, WebhookSettings
from auditor.settings.faults import _FORMS, tables_under
from auditor.settings.file import Config, find_config, load_config, parse_config, parse_toml, read_found
from auditor.values.findings import Severity

KEY = "0123456789abcdef0123456789ABCDEF"
URL = "https://hooks.example.net/services/T0/B0/s3cr3t"
SLACK = f'[[notifiers]]\nname = "team"\ntype = "slack"\nurl = "{URL}"\n'
PAGER = f'[[notifiers]]\nname = "oncall"\ntype = "pagerduty"\nrouting_key = "{KEY}"\n'
HOOK = f'[[notifiers]]\nname = "hook"\ntype = "webhook"\nurl = "{URL}"\n'
SHARED = '[[shared]]\naddress = "10.0.0.53"\nnodes = ["a", "b"]\nreason = "anycast"\n'


def parsed(text: str) -> Config:
    """The configuration that stands in a file of this text."""
    return parse_toml(text, "wgaudit.toml")


def refusals(text: str) -> list[str]:
    """All that is told of it, a line each."""
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    assert str(caught.value).splitlines() == list(caught.value.lines)
    return list(caught.value.lines)


def refusal(text: str) -> str:
    """Why it is refused: the one fault of it, without file and line."""
    (line,) = refusals(text)
    assert re.match(r"wgaudit\.toml:\d+: ", line)
    return line.split(": ", 1)[1]


# -- what is refused


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            PAGER.replace("routing_key", "routing_kee"),
            "notifiers[1].routing_kee: unknown key; did you mean routing_key?",
        ),
        (
            SLACK + PAGER.replace("routing_key", "routing_kee"),
            "notifiers[2].routing_kee: unknown key; did you mean routing_key?",
        ),
        (SLACK.replace("url", "ulr"), "notifiers[1].ulr: unknown key; did you mean url?"),
        (HOOK + 'secret_fil = "x"', "notifiers[1].secret_fil: unknown key; did you mean secret_file?"),
        (
            SHARED.replace("address", "adress") + "until = 2030-01-01",
            "shared[1].adress: unknown key; did you mean address?",
        ),
        ('[alerts]\nheartbeat = "x"', "alerts.heartbeat: unknown key; did you mean heartbeat_url?"),
        ("[state]\nkeep_day = 3", "state.keep_day: unknown key; did you mean keep_days?"),
        ('[[notifier]]\nname = "a"', "notifier: unknown key; did you mean notifiers?"),
        ('[consul.fields]\nadress = "ip"', "consul.fields.adress: unknown key; did you mean address?"),
        ('[regions.pool]\nsin = "10.1.0.0/16"', "regions.pool: unknown key; did you mean pools?"),
    ],
)
def test_a_misspelt_key_is_named_with_the_nearest_that_is_known(text: str, words: str) -> None:
    """Entries of a list are counted from one, as people do."""
    assert refusal(text) == words


def test_a_key_of_another_kind_of_notifier_is_refused_with_the_known_ones() -> None:
    """A Slack webhook has no routing key."""
    words = refusal(SLACK + f'routing_key = "{KEY}"')
    assert words.startswith(
        "notifiers[1].routing_key: unknown key; known here: accept, checks, max_per_message, "
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SLACK.replace('type = "slack"\n', ""), "notifiers[1]: its type must be one of slack, pagerduty, "),
        (SLACK.replace("slack", "Slack"), "notifiers[1]: its type must be one of slack, "),
        (SLACK.replace('name = "team"\n', ""), "notifiers[1].name: is missing"),
        (SLACK.replace('"team"', '"a b"'), "notifiers[1].name: "),
        (SLACK.replace('"team"', '""'), "notifiers[1].name: "),
        (SLACK + HOOK.replace('"hook"', '"team"'), "notifiers[2].name: an earlier notifier has this name"),
        ('[notifiers]\nname = "a"', "notifiers: must be a list: write [[notifiers]] above each entry"),
        ('notifiers = ["a"]', "notifiers[1]"),
        (SLACK + 'checks = "key-drift"', "notifiers[1].checks: must be a list in [ ]"),
        (SLACK + 'min_severity = "bad"', "notifiers[1].min_severity: "),
        (SLACK + "repeat_interval = 59", "notifiers[1].repeat_interval: "),
        (SLACK + "timeout = 0", "notifiers[1].timeout: "),
        (SLACK + "timeout = nan", "notifiers[1].timeout: "),
        (SLACK + "max_per_message = 0", "notifiers[1].max_per_message: "),
        (PAGER + 'api = "ftp://x"', "notifiers[1].api: "),
        (
            SLACK.replace(f'url = "{URL}"', 'url_file = "~no-such-user/x"'),
            "notifiers[1].url_file: begins with ~ ",
        ),
        ("[alerts]\nblind_after = 0", "alerts.blind_after: "),
        ("[state]\nkeep_days = 0", "state.keep_days: "),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_its_place(text: str, words: str) -> None:
    """What and where; never the value."""
    assert refusal(text).startswith(words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '[mesh]\ndevice = "wg 0"',
            "mesh.device: must be a device's name: 1 to 15 letters, digits and any of ",
        ),
        (SLACK.replace('"team"', '"a b"'), "notifiers[1].name: must begin with a letter or digit, "),
        ('[alerts]\ndocs_url = "x"', "alerts.docs_url: must be an http or https URL without a #"),
        ('[alerts]\nmesh = "a b"', "alerts.mesh: must begin with a letter or digit, "),
        ("[alerts]\ncommand = 3", "alerts.command: must be a command in quotes, or a list of its words"),
        ('[alerts]\ncommand = "ssh \'x"', "alerts.command: cannot be split into words: No closing quotation"),
        (
            '[alerts]\ncommand = ["a\\nb"]',
            "alerts.command: must be a command in quotes, or a list of its words",
        ),
        ("[alerts]\ncommand = []", "alerts.command: "),
        (PAGER + 'api = "https://x?y"', "notifiers[1].api: must be an http or https URL without user, "),
        ('[mesh]\npools = "10.0.0.0/8"', "mesh.pools: must be a list in [ ]"),
        ('[ssh]\nport = "x"', "ssh.port: must be a whole number"),
        ("[ssh]\nport = 22.5", "ssh.port: must be a whole number"),
        ("[ssh]\nport = 70000", "ssh.port: must be less than or equal to 65535"),
        ('[ssh]\nagent = "maybe"', "ssh.agent: must be true or false"),
        ("[ssh]\nidentity_files = [3]", "ssh.identity_files[1]: must be a path in quotes"),
        ('consul = "x"', "consul: must be a table"),
        ('[consul]\ntimeout = "x"', "consul.timeout: must be a number"),
        ("[consul]\nurl = 3", "consul.url: must be text in quotes"),
        ('[mesh]\ntopology = "ring"', "mesh.topology: must be 'full' or 'partial'"),
        ('[regions]\npools = ["x"]', "regions.pools: must be a table"),
        (SHARED.replace('"anycast"', '""') + "until = 2030-01-01", "shared[1].reason: must not be empty"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_in_the_words_of_the_file(text: str, words: str) -> None:
    """Lists and tables, not tuples and dictionaries; no regular expression."""
    assert refusal(text).startswith(words)


def test_every_pattern_has_words_of_its_own() -> None:
    """A regular expression is no answer at 3 a.m."""
    patterned: set[str] = set()
    pending: list[type[BaseModel]] = [Config]
    while pending:
        table = pending.pop()
        for name, field in table.model_fields.items():
            pending += tables_under(table, name)
            if any(getattr(part, "pattern", None) for part in field.metadata):
                patterned.add(name)
    assert patterned
    assert patterned == set(_FORMS)


def test_a_directory_given_as_the_configuration_is_called_one(tmp_path: Path) -> None:
    """`init` would not help."""
    with pytest.raises(ConfigError, match=r"^--config: .* is a directory; name the file in it$"):
        find_config(tmp_path, {}, tmp_path)
    with pytest.raises(ConfigError, match=r"^\$WGAUDIT_CONFIG: .* is a directory"):
        find_config(None, {"WGAUDIT_CONFIG": str(tmp_path)}, tmp_path)
    with pytest.raises(ConfigError, match="`wgaudit init` writes one"):
        find_config(tmp_path / "none.toml", {}, tmp_path)


# -- a file that nobody named


@pytest.fixture
def working(tmp_path: Path) -> Path:
    """A working folder with a configuration in it, both ours alone."""
    tmp_path.chmod(0o755)
    (tmp_path / "wgaudit.toml").write_text("[mesh]\ndevice = 'wg7'\n")
    (tmp_path / "wgaudit.toml").chmod(0o644)
    return tmp_path


def test_a_configuration_that_others_can_write_is_not_read_unasked(working: Path) -> None:
    """What stands in it runs here; named, it counts."""
    assert read_found(None, {}, working)[0].mesh.device == "wg7"
    working.chmod(0o1777)
    with pytest.raises(
        ConfigError, match=r"its folder .*; --config ./wgaudit.toml reads it all the same$"
    ) as caught:
        read_found(None, {}, working)
    assert "\n" not in str(caught.value)
    named = working / "wgaudit.toml"
    assert read_found(named, {}, working)[0].mesh.device == "wg7"
    assert read_found(None, {"WGAUDIT_CONFIG": str(named)}, working)[0].mesh.device == "wg7"


def test_an_ssh_configuration_that_it_names_is_held_to_the_same_rule(working: Path) -> None:
    """A `ProxyCommand` stands there as well."""
    ssh = working / "ssh_config"
    ssh.write_text("")
    ssh.chmod(0o666)
    named = working / "wgaudit.toml"
    named.write_text(f"[ssh]\nconfig_file = '{ssh}'\n")
    with pytest.raises(ConfigError, match=r"ssh_config: not read unasked: .* as ssh.config_file"):
        read_found(None, {}, working)
    assert read_found(named, {}, working)[0].ssh.config_file == ssh
    ssh.chmod(0o644)
    assert read_found(None, {}, working)[1] == named


# -- exactly one place for each secret


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SLACK + 'url_file = "x"', "notifiers[1].url_file: give exactly one of url, url_file and url_env"),
        (SLACK + 'url_env = "X"', "notifiers[1].url_env: give exactly one of url, url_file and url_env"),
        (
            SLACK.replace(f'url = "{URL}"\n', ""),
            "notifiers[1]: give exactly one of url, url_file and url_env",
        ),
        (
            PAGER + 'routing_key_env = "X"',
            "notifiers[1].routing_key_env: give exactly one of routing_key, routing_key_file and routing_key_env",
        ),
        (
            PAGER.replace(f'routing_key = "{KEY}"\n', ""),
            "notifiers[1]: give exactly one of routing_key, routing_key_file and routing_key_env",
        ),
        (
            HOOK + 'secret = "x"\nsecret_env = "X"',
            "notifiers[1].secret_env: give at most one of secret, secret_file and secret_env",
        ),
        (
            '[alerts]\nheartbeat_url = "https://x"\nheartbeat_url_env = "X"',
            "alerts.heartbeat_url_env: give at most one of heartbeat_url, heartbeat_url_file and heartbeat_url_env",
        ),
        (
            '[state]\nurl = "postgresql://h/d"\nurl_env = "X"',
            "state.url_env: give at most one of url, url_file and url_env",
        ),
    ],
)
def test_a_secret_stands_in_one_place(text: str, words: str) -> None:
    """Two would leave it to chance which one is used; none would be found out at the first page."""
    assert refusal(text) == words


def test_a_signing_secret_and_a_heartbeat_are_optional() -> None:
    """Nothing is signed, nothing is called."""
    config = parsed(HOOK)
    (hook,) = config.notifiers
    assert isinstance(hook, WebhookSettings)
    assert hook.resolved_secret({}) is None
    assert config.alerts.resolved_heartbeat({}) is None


def slack(text: str) -> SecretStr:
    """The Slack URL of a configuration, with an environment of one variable."""
    (notifier,) = parsed(text).notifiers
    assert isinstance(notifier, SlackSettings)
    return notifier.resolved_url({"TEAM_URL": f" {URL}\n"})


def test_a_secret_is_read_from_the_file_the_environment_or_the_configuration(tmp_path: Path) -> None:
    """Without the newline that an editor leaves."""
    file = tmp_path / "url"
    file.write_text(f"{URL}\n")
    for given_as in (f'url = "{URL}"', f'url_file = "{file}"', 'url_env = "TEAM_URL"'):
        text = SLACK.replace(f'url = "{URL}"', given_as)
        assert slack(text).get_secret_value() == URL


def pager(routing_key: str) -> PagerDutySettings:
    """A PagerDuty notifier whose routing key is in this place."""
    (notifier,) = parsed(PAGER.replace(f'routing_key = "{KEY}"', routing_key)).notifiers
    assert isinstance(notifier, PagerDutySettings)
    return notifier


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (
            'routing_key_file = "/nowhere/key"',
            "notifiers.oncall.routing_key_file: cannot read /nowhere/key: No such",
        ),
        ('routing_key_file = "/"', "notifiers.oncall.routing_key_file: cannot read /: Is a directory"),
        ('routing_key_file = "/nul\\u0000l"', "notifiers.oncall.routing_key_file: cannot read "),
        ('routing_key_env = "NOT_SET"', "notifiers.oncall.routing_key_env: nothing stands there"),
        ('routing_key = "  "', "notifiers.oncall.routing_key: nothing stands there"),
        ('routing_key = "short"', "notifiers.oncall: a routing key has 32 letters and digits"),
        (f'routing_key = "{KEY}x"', "notifiers.oncall: a routing key has 32 letters and digits"),
    ],
)
def test_a_secret_that_is_not_there_or_not_one_is_told_by_its_place(place: str, words: str) -> None:
    """Before a sweep begins, not when somebody should be paged."""
    with pytest.raises(ConfigError) as caught:
        pager(place).resolved_key({})
    assert str(caught.value).startswith(words)
    assert "short" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_file_that_is_no_text_is_no_secret(tmp_path: Path) -> None:
    """A keystore, or the wrong file."""
    (tmp_path / "key").write_bytes(b"\xfe\xed\xfe\xed")
    with pytest.raises(ConfigError, match="not a text file"):
        pager(f'routing_key_file = "{tmp_path}/key"').resolved_key({})


@pytest.mark.parametrize(
    "url", ["hooks.example.net/s3cr3t", "ftp://s3cr3t", "https://", "https://a b/s3cr3t", "https:///s3cr3t"]
)
def test_what_is_no_web_address_is_refused_without_being_shown(url: str) -> None:
    """Also the heartbeat's."""
    config = parsed(f'[alerts]\nheartbeat_url = "{url}"\n' + SLACK.replace(URL, url))
    (notifier,) = config.notifiers
    assert isinstance(notifier, SlackSettings)
    resolve: Callable[[], object]
    for resolve, words in (
        (lambda: notifier.resolved_url({}), "notifiers.team: its url is not an http or https URL"),
        (
            lambda: config.alerts.resolved_heartbeat({}),
            "alerts: its heartbeat_url is not an http or https URL",
        ),
    ):
        with pytest.raises(ConfigError) as caught:
            resolve()
        assert str(caught.value) == words


def test_the_states_url_is_one_of_postgresql_and_a_wrong_one_is_not_shown(tmp_path: Path) -> None:
    url, file = "postgresql+psycopg://audit:hunter2@db/wgaudit", tmp_path / "url"
    file.write_text(f"{url}\n")
    for place in (f'url = "{url}"', f'url_file = "{file}"', 'url_env = "STATE"'):
        state = parsed(f"[state]\n{place}\n").state
        assert (state.on_server, state.resolved_url({"STATE": url}).get_secret_value()) == (True, url)
    assert not parsed("").state.on_server
    for wrong in ("mysql://hunter2@db/wgaudit", "postgresql://", "postgresql://hunter2@db/a b", "hunter2"):
        with pytest.raises(ConfigError) as caught:
            parsed(f'[state]\nurl = "{wrong}"\n').state.resolved_url({})
        assert str(caught.value).startswith(
            "state.url is no postgresql+psycopg://user@host/database; in a password"
        )


@pytest.mark.parametrize("character", ["/", "?", "#", "@", "%", "%00", "[", "/@", "é"])
def test_a_password_that_would_end_elsewhere_for_another_reader_is_refused(character: str) -> None:
    """PostgreSQL's library would take a piece of it for the host, and name that in what it complains of."""
    state = parsed(f'[state]\nurl = "postgresql+psycopg://audit:hun{character}ter2@db/wgaudit"\n').state
    with pytest.raises(ConfigError, match="are written %2F") as caught:
        state.resolved_url({})
    assert "hun" not in str(caught.value)
    assert "ter2" not in str(caught.value)


@pytest.mark.parametrize(
    "rest",
    [
        "audit:hun%2Fter2@db/wgaudit?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        "audit:hun:ter+2=@db-1:5432,[fe80::1%25eth0]:5433/wgaudit",
        "audit@/wgaudit?host=/run/postgresql",
        "%2Frun%2Fpostgresql/wgaudit",
    ],
)
def test_hosts_sockets_and_passwords_of_a_states_url_are_taken_as_postgresql_takes_them(rest: str) -> None:
    url = f"postgresql+psycopg://{rest}"
    assert parsed(f'[state]\nurl = "{url}"\n').state.resolved_url({}).get_secret_value() == url


# -- secrets are shown nowhere


SECRETS = (KEY, "s3cr3t", "hunter2")
FULL = (
    f'[alerts]\nheartbeat_url = "{URL}"\n[consul]\ntoken = "hunter2"\n'
    '[state]\nurl = "postgresql+psycopg://audit:hunter2@db/wgaudit"\n'
    f'{SLACK}{PAGER}{HOOK}secret = "hunter2"\n'
)


def test_no_secret_is_in_what_the_configuration_shows_of_itself() -> None:
    """repr, str, a dump, JSON: all of them may end up in a log."""
    config = parsed(FULL)
    shown = [repr(config), str(config), str(config.model_dump()), config.model_dump_json()]
    shown += [
        text for notifier in config.notifiers for text in (repr(notifier), f"{notifier}", ascii(notifier))
    ]
    assert not [secret for secret in SECRETS for text in shown if secret in text]
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301  (our own bytes)


@pytest.mark.parametrize(
    "damage",
    [
        ("routing_key =", "routing_kee ="),
        ('type = "pagerduty"', f'type = "{KEY}"'),
        ('type = "slack"', "type = 5"),
        (f'url = "{URL}"', f'url = ["{URL}"]'),
        (f'routing_key = "{KEY}"', f'routing_key = {{ key = "{KEY}" }}'),
        ('name = "oncall"', f'name = "{URL}"'),
        ('secret = "hunter2"', 'secret = "hunter2"\nsecret_file = "hunter2"'),
        ('token = "hunter2"', 'token = "hunter2"\ntoken_file = "hunter2"'),
    ],
)
def test_no_secret_is_in_what_is_said_of_a_broken_configuration(damage: tuple[str, str]) -> None:
    """Whatever is wrong around it, or with it."""
    words = "\n".join(refusals(FULL.replace(*damage, 1)))
    assert not [secret for secret in SECRETS if secret in words]


@pytest.mark.parametrize(
    "place", [f'routing_key_file = "{KEY}"', f'routing_key_file = "{URL}"', f'routing_key_env = "{KEY}"']
)
def test_a_secret_in_the_place_of_its_files_name_is_not_shown(place: str) -> None:
    """An easy mistake, and the line goes to cron's mail."""
    with pytest.raises(ConfigError) as caught:
        pager(place).resolved_key({})
    assert not [secret for secret in SECRETS if secret in str(caught.value)]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_notifier_and_agreement_is_taken_or_refused_in_one_line(junk: object) -> None:
    """Never a traceback."""
    base = {"name": "a", "type": "webhook", "url": URL}
    for entry in ([junk], [base | junk] if isinstance(junk, dict) else junk, [base | {"url": junk}]):
        for document in ({"notifiers": entry}, {"shared": entry}, {"alerts": junk}):
            try:
                parse_config(document, "wgaudit.toml")
            except ConfigError as error:
                assert "s3cr3t" not in str(error)  # noqa: PT017  (most of them are taken)


# -- agreements


@pytest.mark.parametrize(
    ("until", "moment"),
    [
        ("2027-06-30", datetime(2027, 6, 30, tzinfo=UTC)),
        ('"2027-06-30"', datetime(2027, 6, 30, tzinfo=UTC)),
        ("2027-06-30T12:00:00Z", datetime(2027, 6, 30, 12, tzinfo=UTC)),
        ("2027-06-30T12:00:00+09:00", datetime(2027, 6, 30, 3, tzinfo=UTC)),
        ("2027-06-30T12:00:00", datetime(2027, 6, 30, 12, tzinfo=UTC)),
        ('"2027-06-30T12:00:00"', datetime(2027, 6, 30, 12, tzinfo=UTC)),
    ],
)
def test_an_agreement_ends_at_a_moment_that_has_a_zone(until: str, moment: datetime) -> None:
    """A date is its first minute in UTC; a time without a zone is UTC too. With quotes or without."""
    (shared,) = parsed(f"{SHARED}until = {until}\n").policy().shared
    assert shared.until == moment
    assert (str(shared.prefix), sorted(shared.nodes), shared.reason) == (
        "10.0.0.53/32",
        ["a", "b"],
        "anycast",
    )


@pytest.mark.parametrize("until", ["1800000000", "12:00:00", '"soon"', "true", '""', "[]"])
def test_an_agreement_without_a_date_is_refused(until: str) -> None:
    """An agreement without an end is none."""
    assert refusal(f"{SHARED}until = {until}\n") == "shared[1].until: must be a date, such as 2027-06-30"
    assert refusal(SHARED) == "shared[1].until: is missing"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('["a", "b"]', '["a"]'), "shared[1].nodes: must name at least two different nodes"),
        (('["a", "b"]', '["a", "a"]'), "shared[1].nodes: must name at least two different nodes"),
        (('"10.0.0.53"', '"10.0.0.300"'), "shared[1].address: not an IP address"),
        (('"10.0.0.53"', "10"), "shared[1].address: must be an address prefix in quotes"),
        (('"anycast"', '""'), "shared[1].reason: "),
        (("[[shared]]", "[shared]"), "shared: must be a list: write [[shared]] above each entry"),
    ],
)
def test_an_agreement_that_agrees_on_nothing_is_refused(change: tuple[str, str], words: str) -> None:
    """One node shares with nobody."""
    assert refusal(f"{SHARED.replace(*change)}until = 2027-06-30\n").startswith(words)


# -- defaults and files


def test_a_notifier_wants_warnings_and_worse_of_everything_and_the_end_of_it() -> None:
    """Once each."""
    (notifier,) = parsed(SLACK).notifiers
    assert notifier.min_severity is Severity.WARNING
    assert (notifier.checks, notifier.regions, notifier.send_resolved) == ((), (), True)
    assert notifier.repeat_interval is None


def test_an_empty_file_is_a_configuration(tmp_path: Path) -> None:
    """With nobody to tell."""
    file = tmp_path / "wgaudit.toml"
    file.write_text("")
    config = load_config(file)
    assert (config.notifiers, config.shared, config.alerts.blind_after) == ((), (), 2)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a = 1\n[[notifiers", "2:12: not valid TOML: Expected "),
        (b'[consul]\nurl = "x', "2:9: not valid TOML: "),
        (b"a = 1\na = 2\n", "2:6: not valid TOML: Cannot overwrite a value"),
        (b"a = 1\nb = \n", "2:5: not valid TOML: Invalid value"),
        (b"a = 1\n\xff\xfe", "2: not valid TOML: not UTF-8 text"),
        (b"a = " + b"[" * 5000, "not valid TOML: nested too deeply"),
        (b"[ssh]\nport = " + b"9" * 5000, "not valid TOML: a number that is too long"),
    ],
)
def test_a_file_that_is_no_toml_is_refused_in_one_line_with_its_place(
    tmp_path: Path, content: bytes, words: str
) -> None:
    """Line and column, as TOML's reader knows them."""
    file = tmp_path / "wgaudit.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    (line,) = caught.value.lines
    assert line.removeprefix(f"{file}:").strip().startswith(words)


# -- all faults at once, each with its line


MANY = """\
titel = "x"
[consul.fields]
adress = "ip"  # out of order: the rest of consul comes below

[[notifiers]]
name = "team"
type = "webhook"
ulr = "s3cr3t"
secret = "hunter2"
secret_file = "hunter2"
timeout = 0

[[notifiers]]
name = "team"
type = "slack"
url = \"\"\"https://s3cr3t
continued\"\"\"
checks = [
  "key-drift",  # a note
  3,
]
[[notifiers]]
type = "slack"
[regions]
name_pattern = "x"
[consul]
prefix = "nodes"
device = "wg0"
[mesh]
pools = ["10.0.0.0/8", "x"]
"""


def test_all_faults_are_told_at_once_each_with_its_line_and_none_twice() -> None:
    """In the order of the file; what a misspelt key leaves missing is told by the misspelling alone."""
    assert refusals(MANY) == [
        "wgaudit.toml:1: titel: unknown key; did you mean state?",
        "wgaudit.toml:3: consul.fields.adress: unknown key; did you mean address?",
        "wgaudit.toml:8: notifiers[1].ulr: unknown key; did you mean url?",
        "wgaudit.toml:10: notifiers[1].secret_file: give at most one of secret, secret_file and secret_env",
        "wgaudit.toml:11: notifiers[1].timeout: must be greater than 0",
        "wgaudit.toml:14: notifiers[2].name: an earlier notifier has this name",
        "wgaudit.toml:20: notifiers[2].checks[2]: must be text in quotes",
        "wgaudit.toml:22: notifiers[3].name: is missing",
        "wgaudit.toml:22: notifiers[3]: give exactly one of url, url_file and url_env",
        "wgaudit.toml:25: regions.name_pattern: needs a group named region: (?P<region>…)",
        "wgaudit.toml:27: consul.prefix: must end with /",
        "wgaudit.toml:28: consul.device: unknown key; did you mean mesh.device?",
        "wgaudit.toml:30: mesh.pools[2]: not an IP address",
    ]


def test_a_fault_is_a_value_with_file_line_key_and_reason() -> None:
    """For a command that shows them in a form of its own."""
    with pytest.raises(ConfigError) as caught:
        parsed("\n[ssh]\nport = 0\n")
    assert caught.value.faults == (
        ConfigFault("wgaudit.toml", "ssh.port", "must be greater than or equal to 1", line=3),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('consul = { url = "http://x", "a\\nb" = 1 }', '1: consul."a\\nb": unknown key'),
        ('[regions.pools]\n"x y" = 3', '2: regions.pools."x y": must be an address prefix'),
        ("\r\n[ssh]\r\nport = 0\r\n", "3: ssh.port: "),
        ("shared = [\n  { address = 1 },\n]", "2: shared[1].address: "),
        ('[[shared]]\naddress = "\\ue0000\\ue000"\nnodes = ["a"]', "1: shared[1].reason: is missing"),
        (f'{KEY} = "x"', "1: …: unknown key"),
    ],
)
def test_each_form_of_toml_has_its_line_and_its_key_stays_on_it(text: str, words: str) -> None:
    """Inline tables, quoted keys, Windows' line ends; a key that looks like a secret is not shown."""
    assert [line for line in refusals(text) if line.startswith(f"wgaudit.toml:{words}")]
