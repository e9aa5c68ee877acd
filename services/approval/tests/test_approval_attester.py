"""The attester: what it signs is what the verifier reads, and its key is one that verifiers know."""

from __future__ import annotations

from pathlib import Path

import pytest

from placet_approval.attester import Attester
from placet_approval.config import Settings
from placet_domain.commands import BaseCommand
from placet_proof.signer import new_key
from placet_testing.attestation import KEY, KEYS, public_key, write_keys
from placet_testing.simulation import ALICE, APPROVAL, TENANT, cancellation, comment, decision


def settings(private: Path, public: Path) -> Settings:
    files = {"attestation_key_file": private, "PLACET_ATTESTATION_KEYS_FILE": public}
    return Settings(**files)  # type: ignore[arg-type]  # one by its alias


@pytest.mark.parametrize("command", [decision(ALICE), cancellation(operator=True), comment()])
def test_each_kind_of_command_is_attested_and_stays_the_same_command(command: BaseCommand) -> None:
    signed = Attester(KEY).attested(TENANT, APPROVAL, command)
    assert signed.attestation is not None
    assert signed.attestation != command.attestation
    assert signed.model_copy(update={"attestation": command.attestation}) == command
    # A retry is the same command, whatever signed it.
    assert signed.digest() == command.digest()
    assert signed.attestation.service is not None
    assert signed.attestation.service.operator is command.operator


def test_the_key_and_its_public_half_are_read(tmp_path: Path) -> None:
    own = settings(*write_keys(tmp_path))
    assert own.attester().public == KEYS[0]
    assert own.attestation_keys() == KEYS


@pytest.mark.parametrize("known", ["another", "ended"])
def test_a_key_whose_attestations_would_be_refused_is_refused_at_the_start(
    tmp_path: Path, known: str
) -> None:
    private, public = write_keys(tmp_path)
    line = str(public_key(KEY, until=1_800_000_000))
    if known == "another":
        private.write_text(new_key())
        line = str(KEYS[0])
    public.write_text(f"{line}\n")
    with pytest.raises(ValueError, match="must hold the public half"):
        settings(private, public).attester()


def test_a_key_that_is_none_or_open_to_others_or_not_there_is_told(tmp_path: Path) -> None:
    private, public = write_keys(tmp_path)
    for content in ("", "no key", str(KEYS[0])):
        private.write_text(content)
        with pytest.raises(ValueError, match="no private key in PEM"):
            settings(private, public).attester()
    private.chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        settings(private, public).attester()
    private.unlink()
    with pytest.raises(ValueError, match="openssl genpkey"):
        settings(private, public).attester()
    public.write_text("")
    with pytest.raises(ValueError, match="no key of attestations"):
        settings(private, public).attestation_keys()
