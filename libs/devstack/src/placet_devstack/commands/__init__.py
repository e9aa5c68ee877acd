"""The commands of `placet` that run or inspect the embedded stack."""
