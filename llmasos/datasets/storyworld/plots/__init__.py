"""The plots: each file defines one type of story about the valley. All are equally likely."""

from llmasos.datasets.storyworld.plots import (
    confess,
    gift,
    grow,
    lost,
    meal,
    mend,
    night,
    quarrel,
    race,
    rescue,
    secret,
    skill,
    storm,
    stranger,
)

PLOTS = tuple(
    module.PLOT
    for module in (lost, mend, meal, storm, secret, race, skill, quarrel, stranger, confess, rescue, grow, night, gift)
)
