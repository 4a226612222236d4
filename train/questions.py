"""Questions about a scene or a clip and their one right answer, as conversations of one to three turns."""

from collections import Counter
from dataclasses import dataclass
from random import Random

from clips import MOVES, Clip
from scene import Item, Scene
from things import KINDS, NUMBERS, PLACES, PLURAL, SHAPES


@dataclass
class Turn:
    task: str
    question: str
    answer: str


Conversation = list[Turn]
SIDES = {"on the left": (0, 3, 6), "on the right": (2, 5, 8), "at the top": (0, 1, 2), "at the bottom": (6, 7, 8)}
# Ways to point at a place; the first words of an answer are those of PLACES.
ROW = ["at the top", "in the middle", "at the bottom"]
HELLO = [
    ("Hello!", "Hello! Ask me about a picture or a video."),
    ("Hi", "Hello! Ask me about a picture or a video."),
    ("Who are you?", "I am a small vision-language model. I look at pictures and answer questions about them."),
    ("What can you do?", "I name things, shapes, colours and places, count, read words and follow short videos."),
    ("Thank you!", "You are welcome."),
    ("Thanks", "You are welcome."),
]


def a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def noun(item: Item) -> str:
    return f"{item.colour} {item.kind}" if item.colour else item.kind


def capital(text: str) -> str:
    return text[0].upper() + text[1:]


def listing(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def counted(n: int, kind: str) -> str:
    return f"{NUMBERS[n]} {kind if n == 1 else PLURAL[kind]}"


def there_is(n: int, kind: str, where: str = "in the picture") -> str:
    if n == 0:
        return f"There is no {kind} {where}."
    return f"There {'is' if n == 1 else 'are'} {counted(n, kind)} {where}."


def other_kind(rng: Random, present) -> str:
    return rng.choice([kind for kind in KINDS if kind not in present])


def describe(scene: Scene) -> str:
    parts = [f"{a(noun(item))} {PLACES[item.place]}" for item in scene.items]
    if scene.text:
        what = "number" if scene.text.isdigit() else "word"
        parts.insert(sum(item.place < 3 * scene.row for item in scene.items), f'the {what} "{scene.text}" {ROW[scene.row]}')
    return capital(listing(parts)) + "."


def ask_describe(rng: Random, scene: Scene) -> Conversation:
    ask = rng.choice([
        "Describe the picture.", "Describe this image.", "What do you see?", "What is in the picture?",
        "What is in this picture?", "What does the image show?", "Tell me what is in the picture.", "What can you see here?",
        "Describe the image in detail.", "What is this?",
    ])
    return [Turn("describe", ask, describe(scene))]


def ask_name(rng: Random, scene: Scene) -> Conversation:
    held = {item.place: item for item in scene.items}
    banned = set(range(3 * scene.row, 3 * scene.row + 3)) if scene.text else set()
    empty = [place for place in range(9) if place not in held and place not in banned]
    pick = lambda: rng.choice(list(held)) if held and (rng.random() < 0.88 or not empty) else rng.choice(empty)  # noqa: E731
    say = lambda place: capital(a(noun(held[place]))) + "." if place in held else "Nothing."  # noqa: E731
    place = pick()
    ask = rng.choice(["What is {}?", "What is {} of the picture?", "What do you see {}?", "Which thing is {}?", "{}, what is there?"])
    turns = [Turn("name", capital(ask.format(PLACES[place])), say(place))]
    if rng.random() < 0.3:
        place = pick()
        turns.append(Turn("follow-up", rng.choice(["And {}?", "And what is {}?", "What about {}?"]).format(PLACES[place]), say(place)))
    return turns


def ask_locate(rng: Random, scene: Scene) -> Conversation:
    counts = Counter(item.kind for item in scene.items)
    single = [item for item in scene.items if counts[item.kind] == 1]
    ask = rng.choice(["Where is the {}?", "Where is the {} in the picture?", "Where can I find the {}?", "Where do you see the {}?", "In which place is the {}?"])
    if not single or rng.random() < 0.15:
        kind = other_kind(rng, counts)
        return [Turn("locate", ask.format(kind), there_is(0, kind))]
    item = rng.choice(single)
    name = noun(item) if item.colour and rng.random() < 0.5 else item.kind
    turns = [Turn("locate", ask.format(name), capital(PLACES[item.place]) + ".")]
    if item.colour and rng.random() < 0.4:
        turns.append(Turn("follow-up", rng.choice(["What colour is it?", "And its colour?", "And what color is it?"]), capital(item.colour) + "."))
    return turns


def ask_count(rng: Random, scene: Scene) -> Conversation:
    counts = Counter(item.kind for item in scene.items)
    n = len(scene.items)
    if rng.random() < 0.3:
        ask = rng.choice(["How many things are in the picture?", "How many objects are there?", "How many things do you see?", "Count the things."])
        answer = "One." if n == 1 else capital(NUMBERS[n]) + "." if n else "None."
        if not scene.text:
            return [Turn("count", ask, answer)]
    several = [kind for kind in counts if counts[kind] > 1]
    roll = rng.random()
    kind = rng.choice(several) if several and roll < 0.6 else rng.choice(list(counts)) if counts and roll < 0.88 else other_kind(rng, counts)
    ask = rng.choice(["How many {} are in the picture?", "How many {} are there?", "How many {} do you see?", "Count the {}.", "How many {}?"])
    turns = [Turn("count", ask.format(PLURAL[kind]), there_is(counts[kind], kind))]
    if counts[kind] > 1 and rng.random() < 0.6:
        side, places = rng.choice(list(SIDES.items()))
        on = sum(item.kind == kind and item.place in places for item in scene.items)
        follow = rng.choice(["And how many of them are {}?", "How many of them are {}?", "And how many are {}?"])
        turns.append(Turn("follow-up", follow.format(side), capital(NUMBERS[on] if on else "none") + "."))
    return turns


def ask_colour(rng: Random, scene: Scene) -> Conversation:
    shapes = [item for item in scene.items if item.colour]
    counts = Counter(item.kind for item in shapes)
    single = [item for item in shapes if counts[item.kind] == 1]
    word = rng.choice(["colour", "color"])
    options = ["one"] * 3 * bool(single) + ["all"] * bool(shapes) + ["place"] * bool(shapes)
    options += ["background"] * (2 if scene.background else 0)
    if not options:
        return []
    option = rng.choice(options)
    if option == "one":
        item = rng.choice(single)
        ask = rng.choice(["What {w} is the {k}?", "Which {w} is the {k}?", "What is the {w} of the {k}?", "What {w} does the {k} have?"])
        return [Turn("colour", ask.format(w=word, k=item.kind), f"The {item.kind} is {item.colour}.")]
    if option == "place":
        item = rng.choice(shapes)
        ask = rng.choice(["What {w} is the {k} {p}?", "Which {w} is the {k} {p}?"])
        return [Turn("colour", ask.format(w=word, k=item.kind, p=PLACES[item.place]), f"The {item.kind} is {item.colour}.")]
    if option == "all":
        colours = listing(list(dict.fromkeys(item.colour for item in shapes)))
        ask = rng.choice(["Which {w}s do the shapes have?", "What {w}s are the shapes?", "Which {w}s do you see in the shapes?"])
        return [Turn("colour", ask.format(w=word), capital(colours) + ".")]
    ask = rng.choice(["What {w} is the background?", "Which {w} is the background?", "What is the {w} of the background?"])
    return [Turn("colour", ask.format(w=word), f"The background is {scene.background}.")]


def ask_yes_no(rng: Random, scene: Scene) -> Conversation:
    counts = Counter(item.kind for item in scene.items)
    ask = rng.choice(["Is there {} in the picture?", "Is there {}?", "Do you see {}?", "Can you see {}?"])
    shapes = [item for item in scene.items if item.colour]
    if shapes and rng.random() < 0.35:  # is the shape of that colour there
        item = rng.choice(shapes)
        has = {(other.kind, other.colour) for other in shapes}
        colour = item.colour if rng.random() < 0.5 else rng.choice(["red", "blue", "green", "yellow", "white", "black", "pink"])
        name = f"{colour} {item.kind}"
        yes = (item.kind, colour) in has
        return [Turn("yes-no", ask.format(a(name)), f"Yes, there is {a(name)}." if yes else f"No, there is no {name} in the picture.")]
    kind = rng.choice(list(counts)) if counts and rng.random() < 0.5 else other_kind(rng, counts)
    if not counts[kind]:
        return [Turn("yes-no", ask.format(a(kind)), f"No, there is no {kind} in the picture.")]
    turns = [Turn("yes-no", ask.format(a(kind)), f"Yes, there is {a(kind)}.")]
    if counts[kind] == 1 and rng.random() < 0.5:
        item = next(item for item in scene.items if item.kind == kind)
        turns.append(Turn("follow-up", rng.choice(["Where is it?", "And where is it?", "Where?"]), capital(PLACES[item.place]) + "."))
    return turns


def ask_read(rng: Random, scene: Scene) -> Conversation:
    if not scene.text:
        ask = rng.choice(["What does it say?", "Read the word.", "What is written in the picture?", "Which number is printed?"])
        return [Turn("read", ask, "There is nothing to read in the picture.")]
    number = scene.text.isdigit()
    what = "number" if number else "word"
    ask = rng.choice([
        "What does it say?", "What is written in the picture?", "Read the text.", "What is printed here?",
        f"Read the {what}.", f"Which {what} is printed?", f"What {what} do you see?", f"What is the {what}?",
    ])
    return [Turn("read", ask, f'The {what} is "{scene.text}".')]


def converse(rng: Random, scene: Scene, n: int) -> list[Conversation]:
    """`n` conversations about a scene, none of which needs another."""
    asks = [ask_describe, ask_name, ask_locate, ask_count, ask_colour, ask_yes_no]
    weights = [1.5, 1.3, 1.3, 1, 1, 0.8]
    chosen = [ask_read] if scene.text or rng.random() < 0.08 else []
    while len(chosen) < n:
        ask = rng.choices(asks, weights)[0]
        if ask not in chosen:
            chosen.append(ask)
    made = [turns for turns in (ask(rng, scene) for ask in chosen) if turns]
    if rng.random() < 0.04:
        made.append([Turn("talk", *rng.choice(HELLO))])
    return made


def converse_long(rng: Random, scene: Scene, n: int) -> list[Conversation]:
    """`n` conversations to learn from: more of finding and counting, which are learned last, and some joined into one."""
    asks = [ask_describe, ask_name, ask_locate, ask_count, ask_colour, ask_yes_no]
    made = {turns[0].question: turns for turns in [ask_read(rng, scene)] if scene.text or rng.random() < 0.08}
    for ask in rng.choices(asks, [1.2, 1.3, 3, 2.5, 1.5, 2], k=2 * n):
        turns = ask(rng, scene)
        if turns and len(made) < n:
            made.setdefault(turns[0].question, turns)
    if rng.random() < 0.05:
        hello = Turn("talk", *rng.choice(HELLO))
        made[hello.question] = [hello]
    return join(rng, list(made.values())) if rng.random() < 0.4 else list(made.values())


def join(rng: Random, talks: list[Conversation]) -> list[Conversation]:
    """Two or three of the conversations become one: any question may come after any other."""
    rng.shuffle(talks)
    several = rng.choice([2, 3])
    return [[turn for talk in talks[:several] for turn in talk], *talks[several:]]


ORDER = ["first", "second", "third"]


def converse_several(rng: Random, scenes: list[Scene], n: int) -> list[Conversation]:
    """`n` conversations about several pictures in one turn."""
    made = []
    for i in rng.sample(range(len(scenes)), min(n, len(scenes))):
        ask = rng.choice(["What is in the {} picture?", "Describe the {} picture.", "What does the {} image show?"])
        made.append([Turn("several", ask.format(ORDER[i]), describe(scenes[i]))])
    counts = Counter(kind for scene in scenes for kind in {item.kind for item in scene.items})
    once = [kind for kind in counts if counts[kind] == 1]
    if once:
        kind = rng.choice(once)
        where = next(i for i, scene in enumerate(scenes) if any(item.kind == kind for item in scene.items))
        ask = rng.choice(["Which picture shows {}?", "In which picture is {}?", "Which picture has {}?"])
        made.append([Turn("several", ask.format(a(kind)), f"The {ORDER[where]} picture.")])
    return made[-n:]


def converse_blind(rng: Random) -> Conversation:
    """Small talk, or a question about a picture that is not there."""
    if rng.random() < 0.4:
        return [Turn("talk", *rng.choice(HELLO))]
    scene = Scene(9, 9, [Item(rng.choice(KINDS), rng.randrange(9))])
    ask = rng.choice([ask_describe, ask_name, ask_locate, ask_count, ask_yes_no, ask_read])(rng, scene)[0].question
    return [Turn("talk", ask, "There is no picture yet. Please show me one.")]


def happens(clip: Clip) -> str:
    name = f"{clip.colour} {clip.kind}" if clip.colour else clip.kind
    if clip.event == "nothing":
        return f"Nothing changes: there is {a(name)}."
    if clip.event == "appears":
        return f"{capital(a(name))} appears."
    return f"The {name} {clip.event}."


def converse_clip(rng: Random, clip: Clip, n: int) -> list[Conversation]:
    """Up to `n` conversations about a clip."""
    happening = Turn("clip", rng.choice([
        "What happens in the video?", "What happens in this clip?", "Describe the video.", "What changes in the video?",
        "What is going on in the video?", "What happens?",
    ]), happens(clip))
    name = f"{clip.colour} {clip.kind}" if clip.colour else clip.kind
    what = Turn("clip", rng.choice(["What is in the video?", "What do you see in the video?", "Which thing is in the video?"]), capital(a(name)) + ".")
    made = [[happening], [what]]
    if clip.event in MOVES:
        way = MOVES_TO[clip.event]
        made.append([Turn("clip", rng.choice(["Which way does the {} move?", "In which direction does the {} move?", "Where does the {} move?"]).format(clip.kind), way)])
    does = rng.choice(["move", "grow", "shrink"])
    yes = clip.event in MOVES if does == "move" else clip.event == f"{does}s"
    answer = f"Yes, the {clip.kind} {clip.event}." if yes else f"No, the {clip.kind} does not {does}."
    made.append([Turn("clip", rng.choice(["Does the {k} {d}?", "Does the {k} {d} in the video?"]).format(k=clip.kind, d=does), answer)])
    if clip.colour and clip.kind in SHAPES:
        made.append([what, Turn("follow-up", rng.choice(["What happens to it?", "And what happens to it?"]), happens(clip))])
    first, rest = made[0], made[1:]
    rng.shuffle(rest)
    return [first, *rest][:n]


MOVES_TO = {
    "moves to the left": "To the left.", "moves to the right": "To the right.", "moves up": "Up.", "moves down": "Down.",
}
