import msgspec


class SimulateOptions(msgspec.Struct, frozen=True, kw_only=True):
    pass
