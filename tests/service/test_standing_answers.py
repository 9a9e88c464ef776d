"""An incident that rests on answers: over when the same observer meets the right server, not for want of an answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from auditor.errors import GapReason
from auditor.judge import judge
from auditor.service.alert_session import AlertSession
from auditor.service.remembered import remembered
from auditor.values.report import Report
from tests.doubles.receiver import Receiver
from tests.fleets import Mesh, trio
from tests.service.test_alert_session import Complaints, alert, config_of


async def test_it_stands_through_sweeps_that_did_not_meet_anybody_there(tmp_path: Path) -> None:
    """Not asked, timed out, asked from another node; then the one that had met the other meets the right one."""
    silent = trio().asks("edge-ams-1", "10.0.0.2", reason=GapReason.NO_ANSWER)
    rounds = [
        trio().asks("edge-ams-1", "10.0.0.2", "edge-sin-1"),
        trio(),
        silent,
        trio().asks("edge-sin-1", "10.0.0.2", "edge-fra-1"),
        trio().asks("edge-ams-1", "10.0.0.2", "edge-fra-1"),
    ]
    with Receiver() as receiver:
        config, complaints = config_of(tmp_path, receiver.url), Complaints()
        session = AlertSession(config, complaints, budget=30.0)

        def judged(mesh: Mesh) -> Report:
            memory = remembered(config.state.path, complaints.complain).memory
            return judge(replace(mesh.snapshot(), memory=memory))

        sent = []
        for mesh in rounds:
            await alert(session, judged(mesh))
            sent.append([item["reason"] for item in receiver.notifications])
        assert sent == [["first-notification"]] * 4 + [["first-notification", "resolved"]]
        assert complaints.lines == []
