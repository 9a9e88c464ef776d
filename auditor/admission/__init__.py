"""PURE: whether a registration may be written, judged before the write: what stands, objections, the admission."""
