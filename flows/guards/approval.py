"""Nothing that an environment's policy asks about is changed before enough people have agreed to this very plan.

A run that waits has no process and holds no lock. Each answer has it begin again from its top: first the answer is
looked at, and once enough people agreed, all is read and planned anew. A plan that came out otherwise is asked about
again.
"""

from datetime import UTC, datetime

from blocks.environment import Environment
from blocks.errors import GoesOnElsewhere, NotApproved, Refused
from blocks.ledger.approval_decisions import decide
from blocks.ledger.approval_requests import Request, close, open_request, read_decisions, read_pending, take
from tasks.approval import forget_answer, read_answer, wait_for_answer
from tasks.ledger import Run, anchor_trail, current_run
from tasks.notice import announce
from tasks.question import Question, describe_asked, differences, sentence


def approved(environment: Environment, question: Question) -> None:
    """Return when this plan may be carried out; else ask, and end this process until somebody answers.

    Raises NotApproved, and Prefect's `Pause` where people are asked.
    """
    run = current_run()
    policy = environment.approvals.policy_for(run.procedure)
    if run.may_act or run.fence or policy.needed == 0:
        run.may_act = True
        return
    if policy.frozen and not policy.break_glass:
        raise Refused(f"{environment.environment} is {policy.frozen}.", "Wait until then. Nothing was changed.")
    earlier, note = _read_pending(run), ""
    if earlier:
        asked = Question.model_validate(earlier.question)
        same_policy = earlier.policy == (policy.needed, policy.approvers, policy.break_glass, policy.frozen)
        if earlier.fingerprint == question.fingerprint and same_policy:
            _go_on(environment, run, earlier)
            return
        changed = differences(asked, question) if earlier.fingerprint != question.fingerprint else ["who is asked"]
        note = f"The plan changed since it was approved: {'; '.join(changed)}."
        run.record("plan changed", differences=changed)
    request = open_request(run.connection, run.id, question.model_dump(mode="json"), policy)
    told = [*([note] if note else []), *describe_asked(request, []), f"`backstop approve {run.id} --as NAME`"]
    announce(environment, f"{question.title}: waits for an approval", "\n".join(told))
    wait_for_answer(request, environment.approvals.zone, note)


def hear_answer(environment: Environment) -> None:
    """At the top of a run that was begun again: look at what came, and ask on unless that settles it.

    Raises NotApproved when it was rejected or came too late, and Prefect's `Pause` while more is needed.
    """
    run = current_run()
    request, note = _read_pending(run), ""
    if request and request.state == "open":
        _require_in_time(run, request)
        note = _hear(environment, run, request)
        request = _read_pending(run)
    if request is None:
        return
    if request.state == "rejected":
        close(run.connection, request, "rejected")
        told = " ".join(map(sentence, read_decisions(run.connection, request)))
        raise NotApproved(told, "Nothing was changed.")
    if request.state == "open":
        wait_for_answer(request, environment.approvals.zone, note)


def require_may_act(environment: Environment) -> None:
    """Before anything is held: a procedure that forgot to ask changes nothing. Raises Refused."""
    run = current_run()
    if not run.may_act and environment.approvals.policy_for(run.procedure).needed:
        raise Refused(
            f"In {environment.environment} people are asked before {run.procedure}, and nobody was.",
            "Name it in the environment's `approvals`, with `needed: 0`, if nobody has to be. Nothing was changed.",
        )


def _read_pending(run: Run) -> Request | None:
    """None in a run that has not asked. One that did goes on from its request, in one process."""
    request = read_pending(run.connection, run.id)
    if request is None and run.continues:
        raise GoesOnElsewhere("Another process of this run goes on with its approval already.")
    return request


def _hear(environment: Environment, run: Run, request: Request) -> str:
    """Have the ledger decide on what came; what to say in the next form."""
    try:
        answer = read_answer(request)
        if answer:
            decide(run.connection, request, answer)
            anchor_trail(run)
        else:
            run.record("resumed without an answer", request=request.id)
    except Refused as error:
        announce(environment, f"{request.question['title']}: an answer was refused", error.message)
        return str(error)
    finally:
        forget_answer(request)
    return ""


def _require_in_time(run: Run, request: Request) -> None:
    if request.is_over(datetime.now(UTC)):
        close(run.connection, request, "expired")
        raise NotApproved(f"Nobody decided until {request.expires_at:%Y-%m-%d %H:%M} UTC.", "Nothing was changed.")


def _go_on(environment: Environment, run: Run, request: Request) -> None:
    decisions = take(run.connection, request)
    run.may_act = True
    run.facts["approval"] = [decision.model_dump(mode="json") for decision in decisions]
    for decision in decisions:
        if decision.verdict == "break glass":
            announce(environment, f"BREAK GLASS: {request.question['title']}", sentence(decision))
