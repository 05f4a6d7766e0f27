from d2l_recsys.seeds import epoch_seed, seed_streams


def draws(seed):
    return [stream.integers(0, 2**62) for stream in seed_streams(seed)]


def test_the_same_seed_gives_the_same_streams_and_another_seed_others():
    assert draws(3) == draws(3)
    assert len({*draws(3), *draws(4)}) == 6


def test_drawing_from_one_stream_leaves_the_others_alone():
    streams = seed_streams(3)
    streams.split.uniform(size=1000)
    assert streams.shuffle.integers(0, 2**62) == draws(3)[1]


def test_each_epoch_of_each_seed_has_a_seed_that_mxnet_takes():
    seeds = {epoch_seed(seed, epoch) for seed in (0, 1, 2**31 - 1) for epoch in (1, 2, 10**6)}
    assert len(seeds) == 9
    assert all(0 <= seed < 2**31 for seed in seeds)
