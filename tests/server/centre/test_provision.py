"""Provisioning: certificates that strict clients accept, a kit without a secret."""

import datetime
import re
import ssl
import stat
import tomllib
from pathlib import Path

import pytest
from cryptography import x509

import thyroid_fl
from thyroid_fl.server.centre.folder import open_centre

NAMES = ["fl.example.org", "localhost", "fl2.example.org"]


def certificate(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def greet(centre, server_name):
    """Shake hands with the centre's certificate as Python 3.13 does; raise if not."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(
        centre.root / "tls/server.crt", centre.root / "tls/server.key"
    )
    client = ssl.create_default_context(cafile=str(centre.root / "kit/ca.crt"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=server_name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ours.version()


@pytest.mark.parametrize("name", [*NAMES, "127.0.0.1", "192.0.2.7", "2001:db8::7"])
def test_strict_clients_accept_the_server_by_each_of_its_names(provisioned, name):
    assert greet(provisioned, name) == "TLSv1.3"


def test_another_name_is_refused(provisioned):
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        greet(provisioned, "other.example.org")


def test_openssl_accepts_the_chain_strictly(provisioned, tool):
    done = tool(
        "openssl", "verify", "-x509_strict", "-CAfile", provisioned.ca,
        provisioned.root / "tls/server.crt",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


def test_renewal_as_the_page_shows_it_keeps_names_and_strictness(centre, tool):
    """The commands of docs/deploy.md, run in a centre's folder."""
    page = (Path(__file__).parents[3] / "docs/deploy.md").read_text()
    section = page.partition("\n### Certificates\n")[2].partition("\n### ")[0]
    commands = re.findall(r"^\$ (.+)$", section, re.M)
    before = certificate(centre / "tls/server.crt").serial_number

    tool("openssl", "version")  # skips where there is none
    done = tool("bash", "-euc", f"cd {centre}\n" + "\n".join(commands))

    assert done.returncode == 0, done.stderr
    assert certificate(centre / "tls/server.crt").serial_number != before
    assert stat.S_IMODE((centre / "tls/server.crt").stat().st_mode) == 0o600
    for name in (*NAMES, "127.0.0.1", "192.0.2.7", "2001:db8::7"):
        assert greet(open_centre(centre), name) == "TLSv1.3"


def test_ca_signs_and_server_does_not(provisioned):
    ca = certificate(provisioned.ca).extensions
    server = certificate(provisioned.root / "tls/server.crt").extensions

    constraints = [
        one.get_extension_for_class(x509.BasicConstraints) for one in (ca, server)
    ]
    assert [(one.critical, one.value.ca) for one in constraints] == [
        (True, True),
        (True, False),
    ]
    assert ca.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert not server.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    names = server.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == NAMES


def test_certificates_are_valid_for_the_stated_times(provisioned):
    now = datetime.datetime.now(datetime.UTC)

    ca, server = (
        certificate(path).not_valid_after_utc - now
        for path in (provisioned.ca, provisioned.root / "tls/server.crt")
    )

    assert 3649 <= ca.days <= 3650
    assert 824 <= server.days <= 825


def test_only_the_owner_reads_the_secrets(provisioned):
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in provisioned.secrets}

    assert len(modes) == 3
    assert set(modes.values()) == {0o600}
    assert len((provisioned.root / "superexec.secret").read_bytes()) >= 32


def test_kit_holds_no_secret(provisioned):
    secrets = []
    for path in provisioned.secrets:
        lines = path.read_bytes().splitlines()
        secrets += [line for line in lines if len(line) >= 16 and b"-----" not in line]

    files = [path for path in (provisioned.root / "kit").rglob("*") if path.is_file()]

    names = {path.name for path in files}
    assert names == {"ca.crt", "kit.toml", "policy.toml", "README.md"}
    assert secrets
    for path in files:
        content = path.read_bytes()
        assert b"PRIVATE" not in content
        assert not [secret for secret in secrets if secret in content]


def test_kit_says_where_and_which_version(provisioned):
    kit = tomllib.loads((provisioned.root / "kit/kit.toml").read_text())

    assert kit == {
        "address": "fl.example.org:28443",
        "version": thyroid_fl.__version__,
    }
    assert "fl.example.org:28443" in (provisioned.root / "kit/README.md").read_text()


def test_policy_allows_what_the_study_needs_and_explains_each_line(provisioned):
    text = (provisioned.root / "kit/policy.toml").read_text()

    assert tomllib.loads(text) == {
        "tasks": ["segmentation"],
        "strategies": ["fedprox"],
        "most_rounds": 7,
        "most_local_epochs": 3,
        "least_hospitals": 4,
        "least_noise": 0.0,
        "evaluation": "metrics",
    }
    assert text.count("#") >= 7


def test_centre_can_be_opened_again(provisioned):
    assert open_centre(provisioned.root) == provisioned


def test_nginx_publishes_the_fleet_api_only(provisioned):
    for name in ("nginx.conf", "thyroid-fl.conf"):
        text = (provisioned.root / "nginx" / name).read_text()
        locations = re.findall(r"location (.+?) \{", text)

        assert locations == ["/", "= /v1/fleet", "/v1/fleet/"]
        assert text.count("return 403;") == 2
        assert re.findall(r"proxy_pass (.+);", text) == ["https://thyroid_fl_superlink"]
        assert "server 127.0.0.1:28000;" in text
        assert "listen 28443 ssl;" in text


def test_nginx_accepts_its_own_configuration(centre, tool):
    site = (centre / "nginx/thyroid-fl.conf").read_text()
    site = site.replace("/var/log/nginx/", f"{centre}/nginx/logs/")
    whole = f"pid logs/p;\nerror_log logs/e;\nevents {{}}\nhttp {{\n{site}\n}}\n"
    (centre / "nginx/whole.conf").write_text(whole)

    for name in ("nginx.conf", "whole.conf"):
        done = tool(
            "nginx", "-t", "-p", centre / "nginx", "-c", centre / "nginx" / name
        )

        assert done.returncode == 0, done.stderr
        assert "[warn]" not in done.stderr


def test_systemd_accepts_the_unit(centre, tool):
    text = (centre / "systemd/thyroid-centre.service").read_text()
    program = re.search(r"ExecStart=(\S+)", text)[1]
    unit = centre / "systemd/try-thyroid-centre.service"
    unit.write_text(text.replace(program, "/bin/true"))

    done = tool("systemd-analyze", "verify", unit)

    assert done.returncode == 0, done.stderr
    assert "try-" not in done.stderr
    for word in ("NoNewPrivileges=true", "ProtectSystem=strict", "User=thyroid"):
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--address", "fl.example.org"), "expected HOST:PORT"),
        (("--address", "fl.example.org:0"), "1 to 65535"),
        (("--address", "fl example:443"), "neither a host's name nor an IP"),
        (("--address", "a:443", "--also", "b;c"), "neither a host's name nor an IP"),
        (("--address", "fl.example.org:18000"), "cannot share the port"),
        (("--address", "a:443", "--superlink-port", "70000"), "1 to 65535"),
    ],
)
def test_bad_settings_write_nothing(call, study_file, tmp_path, arguments, words):
    done = call("provision", study_file, tmp_path / "c", *arguments)

    assert done.exit_code == 2
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_bad_study_writes_nothing(call, tmp_path):
    (tmp_path / "study.toml").write_text("runds = 3\n")

    done = call(
        "provision", tmp_path / "study.toml", tmp_path / "c", "--address", "a:1"
    )

    assert done.exit_code == 2
    assert "Did you mean 'rounds'?" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]


def test_folder_in_use_is_refused_and_left_alone(call, study_file, tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c/precious").write_text("x")

    done = call("provision", study_file, tmp_path / "c", "--address", "a:443")

    assert done.exit_code == 2
    assert "is not empty" in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["c", "precious"]


def test_failure_halfway_leaves_nothing(call, study_file, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thyroid_fl.server.centre.provision._write_kit", full)

    done = call("provision", study_file, tmp_path / "c", "--address", "a:443")

    assert done.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_local_address_with_the_superlinks_port_needs_no_nginx(
    call, study_file, tmp_path
):
    done = call(
        "provision", study_file, tmp_path / "c",
        "--address", "127.0.0.1:18000", "--superlink-port", "18000",
    )  # fmt: skip

    assert done.exit_code == 0
    assert "nginx" not in done.stdout
    assert not (tmp_path / "c/nginx/nginx.conf").exists()
