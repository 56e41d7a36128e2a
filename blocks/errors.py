"""Every error that Backstop raises on purpose, and what each one means for the run.

BackstopError                    message + hint, both for the person on call
├── Refused                      nothing was changed
│   ├── BadParameter             parameter, value, what is allowed
│   ├── MissingReference         an environment names a value that is not there
│   ├── Unmet                    prerequisites of the plan that do not hold
│   ├── EnvironmentBusy          another run holds the environment
│   ├── LedgerUnreachable        (before the start)
│   ├── NotApproved              rejected, expired, or withdrawn
│   ├── GoesOnElsewhere          another process of the same run acts: its ending is not this one's to write
│   └── WrongCode                a one-time code that proves nobody
├── ServiceIsUnhealthy           a health check found something; nothing was changed
├── ReleaseIsBad                 measured and found bad: the release goes back
├── NotMeasurable                could not be measured for longer than allowed
├── Unreachable                  an outside part does not answer
├── RefusedByPlatform            an outside part answers no
├── RefusedByStore               the backup store answers no
│   ├── AlreadyStored            an object of that name exists and is never replaced
│   └── NotStored                there is no object of that name
├── RefusedBySink                where a secret must arrive, the answer is no
│   └── NotInSink                there is none of that name, or it has no value
├── SecretIsBad                  a secret is refused, accepted, or in use, and should not be
├── BackupIsBad                  a backup is not what its manifest says
├── Preempted                    an emergency asked for the environment
├── FenceLost                    the run no longer owns its environment
└── SomebodyElseChangedIt        the state is neither the before nor this run's
"""


class BackstopError(Exception):
    """What happened, and what to do next."""

    hint = ""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint or self.hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class Refused(BackstopError):
    """Refused before any change."""

    hint = "Nothing was changed."


class BadParameter(Refused):
    def __init__(self, parameter: str, value: object, allowed: str) -> None:
        shown = repr(value)
        shown = shown if len(shown) <= 80 else f"{shown[:77]}… ({len(shown)} characters)"
        super().__init__(f"Parameter '{parameter}' was {shown}; allowed: {allowed}.")

    def __reduce__(self) -> tuple[object, ...]:
        return (Refused, (self.message, self.hint))


class MissingReference(Refused):
    def __init__(self, reference: str, reason: str) -> None:
        super().__init__(
            f"The environment refers to {reference}, which is {reason}.",
            "Set it where the worker runs and start again. Nothing was changed.",
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (Refused, (self.message, self.hint))


class Unmet(Refused):
    """One or more prerequisites of the plan do not hold."""


class EnvironmentBusy(Refused):
    """Another run holds the environment."""


class LedgerUnreachable(Refused):
    hint = "Without the ledger nothing can be undone safely, so nothing was changed. Start it, then try again."


class NotApproved(Refused):
    """Rejected, expired, or withdrawn."""


class GoesOnElsewhere(Refused):
    """Another process of the same run acts; the run's ending is not this one's to write."""

    hint = "This process changed nothing."


class WrongCode(Refused):
    """A one-time code that proves nobody: wrong, too old, or used before."""


class ServiceIsUnhealthy(BackstopError):
    hint = "Nothing was changed."


class ReleaseIsBad(BackstopError):
    hint = "Its traffic goes back to the release before it."


class NotMeasurable(BackstopError):
    hint = "Not known to be bad, but nobody could see that it is good."


class Unreachable(BackstopError):
    """No answer, or none in time. Whether the call had an effect is unknown."""


class RefusedByPlatform(BackstopError):
    """An answer, and it says no."""


class RefusedByStore(BackstopError):
    """An answer of the backup store, and it says no."""


class AlreadyStored(RefusedByStore):
    """An object of that name exists; it was left as it is."""


class NotStored(RefusedByStore):
    """There is no object of that name."""


class RefusedBySink(BackstopError):
    """An answer of a place where a secret must arrive, and it says no."""


class NotInSink(RefusedBySink):
    """There is no secret of that name, or it has no value."""


class SecretIsBad(BackstopError):
    """A new one that is refused, an old one that is accepted or in use still."""


class BackupIsBad(BackstopError):
    hint = "Do not rely on it; restore another one, and make a new one now."


class Preempted(BackstopError):
    hint = "This run puts back what it changed and leaves."


class NotPutBack(BackstopError):
    hint = "Finish it by hand; `backstop audit` shows what was done."


class FenceLost(BackstopError):
    hint = "This run begins no further effect."


class SomebodyElseChangedIt(BackstopError):
    hint = "It was left as it is. Look, then decide by hand."
