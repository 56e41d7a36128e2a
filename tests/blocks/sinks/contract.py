"""What every sink must do. A sink's test inherits it and says where the sink is."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import pytest

from blocks.platforms.interface import Platform
from blocks.sinks.interface import ReadableSink, Sink, Values

HOSTILE = [
    "plain-one_2",
    "",
    "two words",
    "'single' and \"double\"",
    "$HOME ${PATH} $(id) `id`",
    "100 %s %% %(x)s",
    "back\\slash \\n \\\\ \\",
    "line\nNAME=other\nline",
    "# no comment",
    "ключ 🔑 é",
    "a=b=c",
    "\ttab and trailing blank ",
]


class Subject(NamedTuple):
    sink: Sink
    platform: Platform
    """What the sink is given; some need none."""
    behind: Values = {}  # noqa: RUF012 - nobody changes this one
    """What a sink holds that gives no value back."""

    def read(self, *variables: str) -> Values:
        if isinstance(self.sink, ReadableSink):
            return self.sink.read(self.platform, variables)
        return {name: self.behind[name] for name in variables if name in self.behind}

    def write(self, **values: str) -> None:
        self.sink.write(self.platform, values)


class SinkContract(ABC):
    @pytest.fixture
    @abstractmethod
    def subject(self) -> Subject:
        """An empty sink."""

    @pytest.mark.parametrize("value", HOSTILE)
    def test_what_is_written_is_read_back(self, subject: Subject, value: str) -> None:
        subject.write(NAME=value, OTHER="other")
        assert subject.read("NAME", "OTHER") == {"NAME": value, "OTHER": "other"}
        subject.write(NAME=f"{value}, again")
        assert subject.read("NAME", "OTHER") == {"NAME": f"{value}, again", "OTHER": "other"}

    def test_what_is_not_there_is_left_out(self, subject: Subject) -> None:
        assert subject.read("NAME") == {}
        subject.write(OTHER="other")
        assert subject.read("NAME") == {}

    def test_writing_it_again_changes_nothing(self, subject: Subject) -> None:
        subject.write(NAME="value", OTHER="other")
        subject.write(NAME="value")
        subject.write(NAME="value")
        assert subject.read("NAME", "OTHER") == {"NAME": "value", "OTHER": "other"}

    def test_it_shows_no_value(self, subject: Subject) -> None:
        subject.write(NAME="hunter2")
        assert "hunter2" not in f"{subject.sink!r} {subject.sink.named}"
