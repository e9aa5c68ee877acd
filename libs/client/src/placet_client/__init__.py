"""The SDK that callers use."""
