from qexp.report.digits import beyond, missing, money, more, percent


def test_small_sums_keep_two_digits():
    assert [money(usd) for usd in (1234.5, 0.3, 0.0523, 0)] == ["$1,234.50", "$0.30", "$0.052", "$0.00"]
    assert [money(usd) for usd in (0.104, 0.1, 0.0999)] == ["$0.10", "$0.10", "$0.1"]
    assert [money(usd) for usd in (0.0000075, -0.00001)] == ["$0.0000075", "$-0.00001"]


def test_small_shares_keep_a_decimal():
    assert [percent(share) for share in (0.834, 0.0512, -0.25)] == ["83%", "5.1%", "-25%"]
    assert [percent(share) for share in (0.12, 0.1, 0.0994)] == ["12%", "10%", "9.9%"]


def test_how_much_more_is_told_by_the_larger_over_the_smaller():
    assert [more(mine, 2.0) for mine in (0.5, 3.0, 2.0, 1.99)] == ["4.0× less", "1.5× more", "as much", "about as much"]


def test_a_limit_is_rounded_to_where_it_has_its_effect():
    assert (beyond(0.9512, down=True), beyond(0.9512, down=False)) == ("0.951", "0.952")
    assert [beyond(value, down=False) for value in (0.9989, 0.99955, 0.999965)] == ["0.999", "0.9996", "0.99997"]
    assert [beyond(value, down=True) for value in (0.0017, 0.00046, 1.0)] == ["0.001", "0.0004", "1.000"]


def test_a_figure_has_the_decimals_that_tell_it_from_the_limit_it_misses():
    assert [missing(value, 0.95) for value in (0.9, 0.9496, 0.949996)] == ["0.900", "0.9496", "0.949996"]
    assert [missing(value, 100, 1) for value in (130, 100.04)] == ["130.0", "100.04"]
    assert missing(0.95 - 1e-15, 0.95) == "0.950000000000"  # rounding of the mean, beyond all that is recorded
