import pytest

from blocks.errors import Refused
from tasks import risky_statements
from tasks.risky_statements import find_risks


def rules(script: str, server_major: int | None = None) -> list[str]:
    return [risk.rule for risk in find_risks({"0002": script}, server_major)]


@pytest.mark.parametrize(
    ("statement", "rule", "safer"),
    [
        ("CREATE INDEX i ON users (name)", "require-concurrent-index-creation", "concurrently"),
        ("ALTER TABLE users DROP COLUMN name", "ban-drop-column", "release"),
        ("DROP TABLE users", "ban-drop-table", "release"),
        ("ALTER TABLE users RENAME COLUMN a TO b", "renaming-column", "write both"),
        ("ALTER TABLE users ALTER COLUMN a TYPE bigint", "changing-column-type", "new type"),
        ("ALTER TABLE users ALTER COLUMN a SET NOT NULL", "adding-not-nullable-field", "CHECK"),
        (
            "ALTER TABLE users ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES b (id)",
            "adding-foreign-key-constraint",
            "NOT VALID",
        ),
        ("TRUNCATE users CASCADE", "ban-truncate-cascade", "by one"),
    ],
)
def test_each_risk_has_its_rule_and_a_safer_way(statement: str, rule: str, safer: str) -> None:
    risks = {risk.rule: risk for risk in find_risks({"0002": f"SELECT 1;\n{statement};\n"})}
    assert rule in risks
    risk = risks[rule]
    assert (risk.migration, risk.statement) == ("0002", statement)
    assert risk.why
    assert safer in risk.safer_way


@pytest.mark.parametrize(
    "script",
    [
        "",
        "ALTER TABLE users ADD COLUMN email text;",
        "CREATE TABLE a (id int, name varchar(10), at timestamp);",
        "CREATE INDEX CONCURRENTLY i ON users (name);",
        "-- backstop: no-transaction\nCREATE INDEX CONCURRENTLY i ON a (b);\nCREATE INDEX CONCURRENTLY j ON a (c);",
        "ALTER TABLE tasks ADD COLUMN due_on DATE;\nUPDATE alembic_version SET version_num='0002';\nCOMMIT;",
        "INSERT INTO notes VALUES ('DROP TABLE users;');",
    ],
)
def test_what_is_no_risk_is_not_named(script: str) -> None:
    assert rules(script) == []


def test_a_concurrent_build_beside_others_is_in_their_transaction() -> None:
    script = "ALTER TABLE a ADD COLUMN b int;\nCREATE INDEX CONCURRENTLY i ON a (b);"
    assert rules(script) == ["ban-concurrent-index-creation-in-transaction"]


def test_the_statement_is_the_whole_one_on_one_line() -> None:
    (risk,) = find_risks({"x": "-- why\nALTER TABLE users\n  ADD COLUMN a text,\n  DROP COLUMN b;\nSELECT 1;"})
    assert risk.statement == "ALTER TABLE users ADD COLUMN a text, DROP COLUMN b"


def test_a_long_statement_is_shortened() -> None:
    names = ", ".join(f"column_{number}" for number in range(200))
    (risk,) = find_risks({"x": f"CREATE INDEX i ON users ({names});"})
    assert len(risk.statement) == 300
    assert risk.statement.endswith("…")


def test_what_cannot_be_understood_is_named() -> None:
    assert set(rules("CREATE TABEL users ();")) == {"syntax-error"}


def test_the_version_of_the_server_counts() -> None:
    statement = "ALTER TABLE users ADD COLUMN a boolean DEFAULT true;"
    assert rules(statement, 10) == ["adding-field-with-default"]
    assert rules(statement, 16) == []


def test_without_squawk_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(risky_statements, "_PROGRAM", "/nothing/squawk")
    with pytest.raises(Refused, match="squawk could not judge"):
        find_risks({"x": "SELECT 1"})
