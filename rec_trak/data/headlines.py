"""Headlines and bodies for the demo world, from word banks. Not here: who reads them (synthetic_clicks.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# Four lines a topic: who (one person or body), does (present tense), what (one thing), where.
PHRASES = """
politics: the mayor's office|Senator Hale|the opposition leader|the city council|Governor Brandt|the ethics panel
delays the ballot vote|rejects a tax deal|calls an early election|backs a voting bill|loses a key ally
the redistricting plan|a campaign donation|the budget standoff|the lobbying inquiry|a leaked cabinet memo
in the capital|on Senate Hill|in Marlow County|at the state house|before the primary
health: Northport Hospital|a leading surgeon|the health ministry|a nurses' union|the drug regulator|Dr Okafor
approves a new vaccine|warns of long waiting lists|recalls a painkiller|opens a night clinic|halts a trial
the flu season|a cheap insulin plan|the ward shortage|a sleep disorder study|the allergy pill
in rural clinics|at Northport Hospital|in care homes|on the children's ward|across the health service
sport: Lakeside United|coach Moreno|the national team|a rookie goalkeeper|the league champion|striker Danso
wins in extra time|signs a young striker|drops a penalty lead|sacks the head coach|breaks a scoring record
the cup final|a transfer saga|the stadium rebuild|a doping test|the playoff draw
at Lakeside stadium|in the second half|on derby day|before the cup final|in front of home fans
technology: a chip maker|start-up Quillo|the browser giant|engineer Lin|a robotics lab|the phone company
unveils a folding screen|patches a security hole|cuts the price of its laptop|open-sources its code|bans bots
the software update|a data breach|the quantum chip|a battery fire|the privacy setting
at the developer fair|in Chip Valley|on older phones|across the app store|in the cloud
business: Harrow Bank|the retail chain|investor Castell|the central bank|a parcel firm|the car maker
raises its profit forecast|closes forty shops|buys a smaller rival|cuts interest rates|misses its sales target
the merger talk|a factory strike|the pension gap|a surprise dividend|the housing slump
on the stock market|in the retail sector|at the shareholder meeting|in the third quarter|on the high street
climate: the river authority|a glacier expert|the wind farm|the coast guard|the forest service|activist Rowe
measures record heat|plants a million trees|declares a drought|restores a wetland|tracks the melting ice
the flood barrier|a carbon tax|the wildfire season|a solar roof rule|the dying reef
along the coast|in the delta|above the tree line|after a dry spring|on the northern ice
travel: Skylark Airlines|the tourist board|a mountain railway|the island ferry|travel writer Ines|a budget hotel
adds a direct flight|cancels summer sailings|opens a hidden trail|caps visitor numbers|reopens a sleeper train
the passport queue|a beach town|the luggage rule|a weekend in Verano|the old harbour walk
on the south islands|at the airport|in the old town|over the holidays|along the scenic route
food: chef Abara|the corner bakery|a vineyard|the street market|a food critic|the noodle house
perfects a ten-minute soup|wins a second star|bakes with seaweed|swaps butter for olive oil|revives a stew
the sourdough craze|a recipe for dumplings|the coffee shortage|a vegan roast|the perfect omelette
in a tiny kitchen|at the night market|on a weeknight|over an open fire|from leftover rice
film: director Valse|the festival jury|actress Mina Roe|the streaming studio|a horror remake|the film academy
premieres a silent musical|tops the box office|recasts the villain|walks out of an interview|ends a trilogy
the final season|a cult comedy|the award night|a sequel nobody asked for|the director's cut
on the red carpet|at the Lido festival|in cinemas|behind the scenes|on the small screen
science: the space agency|a fossil hunter|astronomer Weil|the particle lab|a marine biologist|the genome project
lands a probe on a comet|finds a feathered dinosaur|maps the deep sea|hears a distant pulsar|decodes a gene
the dark matter search|a moon rock sample|the ancient skull|a talking parrot study|the gravity wave
on the far side of the moon|under the seabed|in a desert crater|at the observatory|in orbit
education: the school board|a village teacher|Linden University|the exam office|a student union|the headmaster
scraps homework|extends the school day|doubles tuition fees|brings back handwriting|hires a hundred tutors
the reading gap|a campus sit-in|the exam retake|a classroom phone ban|the scholarship fund
in primary schools|on campus|before finals week|in evening classes|at Linden University
crime: the district court|Detective Sorel|a jewel thief|the prosecutor|the port police|a star witness
reopens a cold case|arrests two suspects|overturns a verdict|seizes stolen art|denies a plea bargain
the museum heist|a forged will|the bank fraud trial|a missing yacht|the witness list
in the harbour district|at the courthouse|after a night raid|in a locked room|near the border
"""
# A headline's pattern and how strongly it draws a reader in. Mostly, but not only, fake articles wear a lure.
HEADLINES = (
    ("{who} {does} {where}", 1.0),
    ("{who} {does} after {what}", 2.5),
    ("why {who} {does} {where}", 0.4),
    ("{what} puts {who} under pressure", 1.4),
    ("five things to know about {what} {where}", 6.0),
    ("{who} speaks out on {what}", 0.5),
    ("how {what} changes life {where}", 0.2),
    ("{what} divides opinion {where}", 0.1),
    ("live: {who} {does} amid {what}", 4.0),
)
LURES = (
    ("the truth about {what} that {who} hides", 3.0),
    ("{who} secretly {does}, insider claims", 2.0),
    ("leaked: {who} staged {what}", 5.0),
    ("you will not believe {what} {where}", 1.0),
    ("{who} {does} and the press stays silent", 0.6),
)
BODIES = (
    "{who} {does} {where}, according to people close to the matter.",
    "{what} has been discussed for weeks {where}. Now {who} has an answer.",
    "months after {what} made the news, {who} {does}. A spokesperson did not comment.",
    "it is the story of the season {where}: {who} {does}.",
)
LURE_SHARE = {True: 0.6, False: 0.1}  # how often a fake and a real article wear a lure


def _banks() -> dict[str, dict[str, list[str]]]:
    """Topic -> slot of a pattern -> phrases."""
    lines = PHRASES.strip().splitlines()
    slots = ("who", "does", "what", "where")
    blocks = [
        dict(zip(slots, (line.split(": ")[-1].split("|") for line in lines[i : i + 4]), strict=True))
        for i in range(0, len(lines), 4)
    ]
    return dict(zip((line.split(": ")[0] for line in lines[::4]), blocks, strict=True))


BANKS = _banks()


def headline(rng: np.random.Generator, topic: str, is_fake: bool) -> tuple[str, str, float]:
    """A title, a body and the title's pull for one article; two articles may draw the same title."""
    slots = {name: _one_of(rng, phrases) for name, phrases in BANKS[topic].items()}
    pattern, pull = _one_of(rng, LURES if rng.random() < LURE_SHARE[is_fake] else HEADLINES)
    title, body = pattern.format(**slots), _one_of(rng, BODIES).format(**slots)
    return title[0].upper() + title[1:], body[0].upper() + body[1:], pull


def _one_of(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    return options[int(rng.random() * len(options))]
