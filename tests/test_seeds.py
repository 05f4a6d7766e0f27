from d2l_recsys.seeds import seed_streams


def draws(seed):
    return [stream.integers(0, 2**62) for stream in seed_streams(seed)]


def test_the_same_seed_gives_the_same_streams_and_another_seed_others():
    assert draws(3) == draws(3)
    assert len({*draws(3), *draws(4)}) == 6


def test_drawing_from_one_stream_leaves_the_others_alone():
    streams = seed_streams(3)
    streams.split.uniform(size=1000)
    assert streams.shuffle.integers(0, 2**62) == draws(3)[1]
