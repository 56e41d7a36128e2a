"""Hold one drill: prepare it, let the scenario happen, and make a verdict of whatever comes of it."""

from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
from prefect import get_run_logger

from blocks.custodian import custody
from blocks.drills import Scenario
from blocks.environment import Environment
from blocks.errors import BackstopError, BackupIsBad, FenceLost, NotStored, Refused, ReleaseIsBad
from blocks.escrow import EscrowIsBad
from blocks.postgres.restore import RestoreFailed
from tasks.catalogue import Backup, Catalogue, find_backup, read_catalogue
from tasks.drill import Drill, DrillFailed
from tasks.drill_evidence import begin_evidence
from tasks.drill_guard import require_beside
from tasks.drill_region_loss import tell_of_copy, without_its_region
from tasks.drill_report import DrillReport
from tasks.trial import trial_of, without_variables

RECOVERY_FAILED = (BackupIsBad, NotStored, RestoreFailed, ReleaseIsBad, EscrowIsBad, DrillFailed)
"""Anything else says nothing about backup or release: the drill could not run."""

Scenarios = dict[str, Callable[[Drill], None]]


def choose_backup(environment: Environment, scenario: Scenario, backup_id: str) -> Backup | None:
    """The named one; None where the drill is to take the newest. Raises BadParameter with what there is."""
    return find_backup(_survivor(environment, scenario), backup_id) if backup_id else None


def hold_drill(drill: Drill, scenario: Callable[[Drill], None], chosen: Backup | None) -> DrillReport:
    """Whatever happens in it becomes its verdict. Raises FenceLost when it is no longer this run's."""
    begin_evidence(drill)
    try:
        require_beside(drill.environment)
        trial_of(drill.environment)
        live = drill.environment
        drill.environment = _survivor(live, drill.scenario)
        catalogue = read_catalogue(drill.environment).up_to(datetime.now(UTC))
        drill.read_from = tell_of_copy(live, catalogue) if drill.scenario == "region-loss" else "the store"
        drill.backup, drill.newest = chosen or _newest(drill.environment, catalogue), catalogue.newest
        with custody():
            scenario(drill)
    except FenceLost:
        raise
    except RECOVERY_FAILED as error:
        _find(drill, error.message)
        return drill.report("failed")
    except BackstopError as error:
        _find(drill, error.message)
        return drill.report("could not run")
    except psycopg.Error as error:
        _find(drill, f"The drill's database server failed: {error.diag.message_primary or type(error).__name__}.")
        return drill.report("could not run")
    except Exception as error:
        get_run_logger().exception("The drill failed in a way that nobody foresaw")
        _find(drill, f"An unexpected {type(error).__name__}; the log has the details.")
        return drill.report("could not run")
    return drill.report()


def _survivor(environment: Environment, scenario: Scenario) -> Environment:
    """What the disaster leaves to recover from. Raises Refused for nothing."""
    return without_its_region(environment) if scenario == "region-loss" else environment


def _find(drill: Drill, message: str) -> None:
    told = without_variables(message, drill.environment)
    if told not in drill.findings:
        drill.findings.append(told)


def _newest(environment: Environment, catalogue: Catalogue) -> Backup:
    """The newest proven one, else the newest. Raises Refused where there is none."""
    newest = catalogue.newest_proven or catalogue.newest
    if newest is None:
        unreadable = f" {len(catalogue.unreadable)} cannot be read." if catalogue.unreadable else ""
        raise Refused(f"{environment.environment} has no backup that could be restored.{unreadable}")
    return newest
