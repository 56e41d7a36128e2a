import pytest

from blocks.postgres.statements import first_words, has_atomic_body, split_statements, without_comments


@pytest.mark.parametrize(
    ("script", "statements"),
    [
        ("", []),
        (" ;;\n-- nothing\n;/* ; */", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1; SELECT 2;\n", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';' ; SELECT 'it''s;'", ["SELECT ';'", "SELECT 'it''s;'"]),
        (r"SELECT E'\';' ; SELECT e'\\'; SELECT '\'", [r"SELECT E'\';'", r"SELECT e'\\'", r"SELECT '\'"]),
        ('SELECT 1 AS "a;""b"; SELECT 2', ['SELECT 1 AS "a;""b"', "SELECT 2"]),
        ("DO $$ BEGIN; $x$;$x$ END $$; SELECT 1", ["DO $$ BEGIN; $x$;$x$ END $$", "SELECT 1"]),
        ("SELECT $tag$ ; $$ ; $tag$; SELECT 2", ["SELECT $tag$ ; $$ ; $tag$", "SELECT 2"]),
        ("SELECT a$b, c$d; SELECT 1", ["SELECT a$b, c$d", "SELECT 1"]),
        ("PREPARE p AS SELECT $1; SELECT $2", ["PREPARE p AS SELECT $1", "SELECT $2"]),
        ("SELECT 1 -- ; '\n; SELECT 2", ["SELECT 1 -- ; '", "SELECT 2"]),
        ("SELECT 1 /* ; /* ' ; */ ; */; SELECT 2", ["SELECT 1 /* ; /* ' ; */ ; */", "SELECT 2"]),
        ("/* first */ SELECT 1;", ["SELECT 1"]),
        (
            "CREATE RULE r AS ON INSERT TO a DO (SELECT 1; SELECT 2); SELECT 3",
            ["CREATE RULE r AS ON INSERT TO a DO (SELECT 1; SELECT 2)", "SELECT 3"],
        ),
        ("SELECT 'ende", ["SELECT 'ende"]),
        ("SELECT 'größe; €'; SELECT 2", ["SELECT 'größe; €'", "SELECT 2"]),
    ],
)
def test_statements_are_told_apart(script: str, statements: list[str]) -> None:
    assert split_statements(script) == statements


def test_a_statement_begins_with_its_words() -> None:
    assert first_words("/* drop */ create -- x\n index i", 2) == "CREATE INDEX"
    assert first_words("", 1) == ""


def test_an_atomic_body_is_noticed() -> None:
    assert has_atomic_body("CREATE FUNCTION f() RETURNS int BEGIN /* x */ ATOMIC SELECT 1; END")
    assert not has_atomic_body("SELECT 'BEGIN ATOMIC'")


def test_comments_are_taken_out_and_nothing_else() -> None:
    assert without_comments("a -- b\n'--c' /* d */ $$ -- e $$") == "a \n'--c'  $$ -- e $$"
