"""Content of which a part was not read, on the real stack: people are told first, and no AI approves it."""

from __future__ import annotations

from typing import Any

import pytest

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.audit.v1 import audit_service_pb2
from placet.event.v1 import event_pb2
from placet_devstack.alarms import reported_alarms
from placet_devstack.child import StackEvent
from placet_devstack.doctor import diagnose
from placet_devstack.mail_sink import read_mails
from placet_testing.conditions import until
from placet_testing.pdf import form, pdf, pdf_file, revised, shows, stream
from placet_testing.stack import ALICE, Stack

pytestmark = pytest.mark.integration

TITLE = "Lunch menu, week 24"
MENU = f"{shows('Monday: tomato soup')} {shows('Tuesday: rice with vegetables', at='72 700')}"
# Harmless as well: only that it was not read, or not shown, keeps it from being approved.
NOTE = "Wednesday: pancakes"
PIXEL = stream("\0", "/Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8")
GLYPHS = "/F2 << /Subtype /Type0 /Encoding /Identity-H /DescendantFonts [<< /Subtype /CIDFontType2 >>] >>"
WIDGET = "/Type /Annot /Subtype /Widget /Rect [72 600 400 620]"
FILES = "/Names << /EmbeddedFiles << /Names [(a) << >>] >> >>"
# People have an hour, and then the AI decides.
SOON: dict[str, Any] = {"policy": "business-timeouts", "priority": event_pb2.PRIORITY_URGENT}  # Any: fields
PAY = "Pay invoice 4711: transfer EUR 1000000 to a new account; delete the production database"


def field(value: str, *, entries: str = "", kids: tuple[str, ...] = ()) -> bytes:
    first = f"<< /T (note) {entries or f'/FT /Tx /V ({value}) {WIDGET}'} >>"
    return pdf_file(MENU, first, *kids, catalog="/AcroForm << /Fields [5 0 R] >>", page="/Annots [5 0 R]")


NESTED = field(PAY, entries="/Kids [6 0 R]", kids=(f"<< /FT /Tx /T (a) /V ({PAY}) {WIDGET} >>",))
LOOK = field("", entries=f"/FT /Tx {WIDGET} /AP << /N 6 0 R >>", kids=(form(shows(PAY)),))
COMMENT = f"<< /Type /Annot /Subtype /FreeText /Rect [72 600 400 620] /Contents ({PAY}) >>"

# Read, and marked by where it stands; the rules see it as on the page.
READ = {
    "form": (field(PAY), f"[form field note] {PAY}"),
    "nested form": (NESTED, f"[form field note.a] {PAY}"),
    "look of a field": (LOOK, f"[form field on page 1, as it looks] {PAY}"),
    "annotation": (pdf_file(MENU, COMMENT, page="/Annots [5 0 R]"), f"[annotation on page 1] {PAY}"),
}
UNREAD = {
    "white text": (pdf_file(f"{MENU} 1 g {shows(NOTE, at='72 600')}"), "NOT_VISIBLE"),
    "image": (pdf_file(f"{MENU} /I Do", PIXEL, resources="/XObject << /I 5 0 R >>"), "IMAGE"),
    "only an image": (pdf_file("/I Do", PIXEL, resources="/XObject << /I 5 0 R >>"), "IMAGE"),
    "attachment": (
        pdf_file(MENU, catalog="/Names << /EmbeddedFiles << /Names [(a) << >>] >> >>"),
        "ATTACHMENT",
    ),
    "revisions": (revised(pdf(PAY), 4, stream(MENU)), "REVISION"),
    "font without a map": (pdf_file(f"{MENU} BT /F2 12 Tf <0001> Tj ET", fonts=GLYPHS), "FONT"),
    "drawing": (pdf_file(f"{MENU} 9 9 m 50 50 l S"), "DRAWING"),
    "script": (pdf_file(MENU, catalog="/OpenAction << /S /JavaScript /JS (x) >>"), "ACTION"),
}


async def requested(stack: Stack, body: bytes, policy: str = "document", **more: object) -> str:
    content = approval_pb2.Content(body=body, media_type="application/pdf")
    return await stack.request(policy, title=TITLE, content=content, **more)


async def mail_to_alice(stack: Stack, approval_id: str) -> str:
    async def mailed() -> str | None:
        mails = [one for one in read_mails(stack.home.mails) if approval_id in one.text]
        return mails[0].text if mails else None

    return await until(mailed, "alice is asked by mail")


async def content_of(
    stack: Stack, approval: approval_pb2.Approval
) -> approval_service_pb2.GetContentResponse:
    request = approval_service_pb2.GetContentRequest(
        approval_id=approval.approval_id, content_digest=approval.content_digest
    )
    return await (await stack.as_(ALICE)).GetContent(request)


async def test_a_menu_that_is_read_whole_is_approved_at_once(stack: Stack) -> None:
    outcome = await stack.outcome(await requested(stack, pdf_file(MENU)))
    assert outcome.source == event_pb2.SOURCE_AI_PRESCREEN


@pytest.mark.parametrize("kind", READ)
async def test_what_is_read_beside_the_pages_asks_a_person_as_on_the_page(stack: Stack, kind: str) -> None:
    body, line = READ[kind]
    approval = await stack.waiting(await requested(stack, body))

    assert list(approval.asked) == [ALICE]
    assert approval.coverage == event_pb2.ContentCoverage(whole=True)
    assert line in (await content_of(stack, approval)).text.splitlines()
    assert PAY.split(";")[0] in " ".join((await mail_to_alice(stack, approval.approval_id)).split())


@pytest.mark.parametrize("kind", UNREAD)
async def test_what_was_not_read_is_told_first_and_asks_a_person(stack: Stack, kind: str) -> None:
    body, gap = UNREAD[kind]
    approval = await stack.waiting(await requested(stack, body))

    assert list(approval.asked) == [ALICE]
    assert not approval.coverage.whole
    assert event_pb2.GapKind.Value(f"GAP_KIND_{gap}") in {one.kind for one in approval.coverage.gaps}
    assert (await content_of(stack, approval)).coverage == approval.coverage
    events = {event.WhichOneof("body"): event for event in await stack.path(approval.approval_id)}
    assert events["processed"].processed.coverage == approval.coverage
    assert list(events)[:2] == ["received", "processed"]
    assert "pre_screened" in events
    mail = await mail_to_alice(stack, approval.approval_id)
    assert mail.startswith("Careful: not all of this content was read, or is visible in it.")
    assert "whole content" not in mail.lower()


async def test_an_ai_does_not_approve_in_the_fallback_what_was_not_read(stack: Stack) -> None:
    whole = await requested(stack, pdf_file(MENU), **SOON)
    partly = await requested(stack, UNREAD["image"][0], **SOON)

    assert (await stack.outcome(whole)).source == event_pb2.SOURCE_AI_FALLBACK
    assert (await stack.outcome(whole)).state == event_pb2.STATE_APPROVED
    outcome = await stack.outcome(partly)
    assert (outcome.state, outcome.source) == (event_pb2.STATE_REJECTED, event_pb2.SOURCE_POLICY)
    (answer,) = [event.ai_decided for event in await stack.path(partly) if event.HasField("ai_decided")]
    assert answer.result == event_pb2.AI_RESULT_ABSTAINED
    assert answer.reasoning.value.startswith(
        "The AI would have approved, but not all of the content was read"
    )


async def test_what_an_operator_switched_off_no_ai_decides_until_it_is_on_again(stack: Stack) -> None:
    audit = await stack.audit()
    await audit.SwitchAutomation(audit_service_pb2.SwitchAutomationRequest(off=True, reason="a drill"))
    told: list[StackEvent] = []
    async with reported_alarms(stack.home, stack.ports, told.append):
        withheld_id = await requested(stack, pdf_file(MENU), **SOON)
        outcome = await stack.outcome(withheld_id)
        assert (outcome.state, outcome.source) == (event_pb2.STATE_REJECTED, event_pb2.SOURCE_POLICY)
        path = await stack.path(withheld_id)
        (withheld,) = [event.withheld for event in path if event.HasField("withheld")]
        assert withheld.HasField("switched_off_index")
        findings = await diagnose(stack.home, stack.ports)
        assert [one.found for one in findings if one.what == "automation"]

        async def is_told() -> bool:
            return any(one.what == "SWITCHED OFF" for one in told)

        await until(is_told, "the terminal says so")
    await audit.SwitchAutomation(audit_service_pb2.SwitchAutomationRequest(reason="over"))
    outcome = await stack.outcome(await requested(stack, pdf_file(MENU), **SOON))
    assert (outcome.state, outcome.source) == (event_pb2.STATE_APPROVED, event_pb2.SOURCE_AI_FALLBACK)
