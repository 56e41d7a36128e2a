"""`up`: whatever does not run is started, in parallel where nothing needs the other."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from graphlib import TopologicalSorter

from blocks.errors import BackstopError
from deployments.stack.component import Component
from deployments.stack.components import describe_components, describe_preparations
from deployments.stack.credentials import prepare_credentials
from deployments.stack.layout import PORT_OWNERS, Layout
from deployments.stack.ports import choose_ports, is_free
from deployments.stack.processes import WaitingProcess, end, is_alive, listens
from deployments.stack.progress import Progress, Stopwatch
from deployments.stack.record import Launched, Record, RecordFile
from deployments.stack.state import State, write_private

_LOOK_EVERY = 0.05
_TRIES = 3


class Starter:
    """Brings one stack up. Interrupted at any moment, the next one goes on where this one was."""

    def __init__(self, state: State, progress: Progress, sample: bool = True) -> None:
        self._state, self._progress, self._sample = state, progress, sample
        self._file = RecordFile(state)
        self._interrupted = threading.Event()

    def bring_up(self) -> tuple[Layout, int]:
        """Where everything is, and how many parts had to be started. Raises BackstopError."""
        for _ in range(_TRIES - 1):
            try:
                return self._bring_up()
            except BackstopError:
                if not self._has_lost_a_port():
                    raise
                self._progress.say("", "Somebody else was faster at a port: once more, with another one.")
        return self._bring_up()

    def _bring_up(self) -> tuple[Layout, int]:
        layout = self._lay_out()
        components = describe_components(layout, self._progress.say)
        missing = [component for component in components if not self._is_up(component)]
        with ThreadPoolExecutor() as threads:
            list(threads.map(self._end_outdated, missing))
        self._start_all(missing, describe_preparations(layout))
        return layout, len(missing)

    def _lay_out(self) -> Layout:
        credentials = prepare_credentials(self._state)
        ports = choose_ports(PORT_OWNERS.keys(), self._file.record.ports, in_use=self._own_ports())

        def write_ports(record: Record) -> None:
            record.ports, record.sample = ports, self._sample

        if (ports, self._sample) != (self._file.record.ports, self._file.record.sample):
            self._file.change(write_ports)
        write_private(self._state.folder / "prefect-login", f"{credentials.prefect_login}\n")
        self._state.subfolder("evidence")
        return Layout(self._state, credentials, ports, self._sample)

    def _own_ports(self) -> set[str]:
        alive = {name for name, launched in self._file.record.components.items() if is_alive(launched)}
        return {port for port, owner in PORT_OWNERS.items() if owner in alive}

    def _has_lost_a_port(self) -> bool:
        own = self._own_ports()
        return any(name not in own and not is_free(port) for name, port in self._file.record.ports.items())

    def _is_up(self, component: Component) -> bool:
        launched = self._file.record.components.get(component.name)
        return launched is not None and launched.ready and self._runs_as_wanted(component)

    def _runs_as_wanted(self, component: Component) -> bool:
        launched = self._file.record.components.get(component.name)
        return launched is not None and launched.fingerprint == component.fingerprint and is_alive(launched)

    def _end_outdated(self, component: Component) -> None:
        launched = self._file.record.components.get(component.name)
        if launched and not self._runs_as_wanted(component) and is_alive(launched):
            self._progress.say(component.name, "is started anew: what it depends on has changed")
            end(launched)

    def _start_all(self, components: list[Component], preparations: dict[str, Callable[[], None]]) -> None:
        steps: dict[str, Callable[[], None]] = {c.name: partial(self._start, c) for c in components}
        needs = {component.name: component.needs for component in components}
        needed = {name for names in needs.values() for name in names}
        steps |= {name: step for name, step in preparations.items() if name in needed}
        with ThreadPoolExecutor(max_workers=len(steps) or 1) as threads:
            self._run_in_order(threads, steps, needs)

    def _run_in_order(
        self,
        threads: ThreadPoolExecutor,
        steps: dict[str, Callable[[], None]],
        needs: dict[str, tuple[str, ...]],
    ) -> None:
        order = TopologicalSorter({name: [n for n in needs.get(name, ()) if n in steps] for name in steps})
        order.prepare()
        running: dict[Future[None], str] = {}
        failures: dict[str, BaseException] = {}
        try:
            while order.is_active():
                running |= {threads.submit(steps[name]): name for name in order.get_ready()}
                if not running:
                    break  # the rest needs what has failed
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    if error := future.exception():
                        self._progress.failed(name)
                        failures[name] = error
                    else:
                        order.done(name)
        except KeyboardInterrupt:
            self._interrupted.set()
            raise
        _raise_all(failures)

    def _start(self, component: Component) -> None:
        stopwatch = Stopwatch()
        self._progress.began(component.name, "starting")
        if not self._runs_as_wanted(component):
            component.before_start()
            for path, text in component.files.items():
                write_private(path, text)
            self._launch(component)
        self._wait_until_ready(component)
        component.after_start()
        self._file.change(lambda record: setattr(record.components[component.name], "ready", True))
        self._progress.finished(component.name, f"ready in {stopwatch}, {component.address}")

    def _launch(self, component: Component) -> None:
        process = WaitingProcess(component, self._state)
        launched = Launched(
            pid=process.pid,
            created=process.created,
            fingerprint=component.fingerprint,
            stop_signal=component.stop_signal,
            grace=component.grace,
            address=component.address,
        )
        self._file.change(lambda record: record.components.update({component.name: launched}))
        process.let_through()

    def _wait_until_ready(self, component: Component) -> None:
        launched = self._file.record.components[component.name]
        ports = {self._file.record.ports[name] for name, owner in PORT_OWNERS.items() if owner == component.name}
        log = self._state.log(component.name)
        deadline = time.monotonic() + component.ready_within
        while not (listens(launched, ports) and component.is_ready(launched.created)):
            if self._interrupted.wait(_LOOK_EVERY):
                raise BackstopError(f"The start of {component.name} was interrupted.")
            if not is_alive(launched):
                raise BackstopError(f"{component.name} ended while it started.", f"Why is in {log}.")
            if time.monotonic() > deadline:
                raise BackstopError(
                    f"{component.name} was not ready within {component.ready_within:g} s.",
                    f"Its log is {log}. `backstop up` goes on waiting for it.",
                )


def _raise_all(failures: dict[str, BaseException]) -> None:
    """Nothing when there is none. An error that nobody foresaw goes on as it is."""
    for error in failures.values():
        if not isinstance(error, BackstopError):
            raise error
    expected = [error for error in failures.values() if isinstance(error, BackstopError)]
    if expected:
        message = " ".join(error.message for error in expected)
        hints = dict.fromkeys(error.hint for error in expected if error.hint)
        raise BackstopError(message, " ".join(hints) or "`backstop up` goes on where this one stopped.")
