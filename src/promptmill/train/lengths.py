import msgspec


class TrainOptions(msgspec.Struct, frozen=True, kw_only=True):
    pass
