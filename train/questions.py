"""Questions about a picture in several wordings, each with its one right answer.

Every task returns a list of turns [(question, answer), ...] or None when the
picture does not suit it. An answer is a function of the scene alone.
"""
from things import COLOUR_NAMES, NOUNS, PLACES, SHAPES, a, at, join, plural

NUMBERS = ["no", "one", "two", "three", "four"]
COLUMN = ["on the left", "in the middle column", "on the right"]


def pick(rng, wordings, **words):
    """One wording, with fillers; sometimes politely, sometimes without its capital or final mark."""
    text = rng.choice(wordings).format(colour=rng.choice(["color", "colour"]),
                                       picture=rng.choice(["picture", "picture", "image", "photo"]), **words)
    roll = rng.random()
    if roll < 0.06:
        text = rng.choice(["Please tell me: ", "Tell me, "]) + text[0].lower() + text[1:]
    elif roll < 0.12:
        text = text[0].lower() + text[1:]
    if rng.random() < 0.06:
        text = text.rstrip("?.")
    return text


def spoken(place, rng):
    """A place as people say it in a question."""
    if place == "center":
        return rng.choice(["in the center", "in the middle", "in the centre"])
    if place in ("left", "right"):
        return rng.choice([f"on the {place}", f"at the {place}"])
    return rng.choice([f"at the {place}", f"in the {place} corner" if " " in place else f"at the {place}"])


def cap(text):
    return text[0].upper() + text[1:]


def absent_name(rng, scene):
    names = {t.name for t in scene.things}
    while True:
        name = rng.choice(NOUNS) if rng.random() < 0.75 else f"{rng.choice(COLOUR_NAMES)} {rng.choice(SHAPES)}"
        if name not in names:
            return name


def some_name(rng, scene, present):
    if scene.things and rng.random() < present:
        return rng.choice(scene.things).name
    return absent_name(rng, scene)


def named(scene, name):
    return [t for t in scene.things if t.name == name]


def missing(name):
    return f"There is no {name} in the picture."


def printed(scene):
    return f'the {"number" if scene.is_number else "word"} "{scene.text}"'


# --- answers ---------------------------------------------------------------

def contents(scene):
    """'A cat, two dogs and the word "STOP".' in the order of first appearance."""
    if not scene.things and not scene.text:
        return "Nothing."
    names = list(dict.fromkeys(t.name for t in scene.things))
    parts = []
    for name in names:
        k = len(named(scene, name))
        parts.append(a(name) if k == 1 else f"{NUMBERS[k]} {plural(name)}")
    if scene.text:
        parts.append(printed(scene))
    return cap(join(parts)) + "."


def at_place(scene, place):
    for t in scene.things:
        if t.place == place:
            return cap(a(t.name)) + "."
    if scene.text and place == ["top", "center", "bottom"][scene.text_row]:
        return cap(printed(scene)) + "."
    return f"There is nothing {at(place)}."


def location(scene, name):
    found = named(scene, name)
    if not found:
        return missing(name)
    subject = f"The {name} is" if len(found) == 1 else f"The {plural(name)} are"
    return f"{subject} {join([at(t.place) for t in found])}."


def how_many(scene, name):
    k = len(named(scene, name))
    if k == 0:
        return missing(name)
    return f"There is one {name}." if k == 1 else f"There are {NUMBERS[k]} {plural(name)}."


def exists(scene, name):
    k = len(named(scene, name))
    if k == 0:
        return f"No, there is no {name} in the picture."
    return f"Yes, there is {a(name)}." if k == 1 else f"Yes, there are {NUMBERS[k]} {plural(name)}."


def reading(scene):
    return f'It says "{scene.text}".' if scene.text else "There is no text in the picture."


def description(scene):
    items = [(3 * scene.text_row + 1, f"{printed(scene)} {at(['top', 'center', 'bottom'][scene.text_row])}")] \
        if scene.text else []
    items += [(t.cell, f"{a(t.name)} {at(t.place)}") for t in scene.things]
    if not items:
        return f"There is nothing on {a(scene.background)} background."
    return f"There is {join([text for _, text in sorted(items)])} on {a(scene.background)} background."


# --- tasks -----------------------------------------------------------------

DESCRIBE = ["Describe the {picture}.", "Describe this {picture}.", "What do you see in detail?",
            "Describe the {picture} in detail.", "What does the {picture} show, and where?",
            "Please describe what you see.", "Give a description of the {picture}."]
CONTENTS = ["What is in the {picture}?", "What do you see?", "What can you see in the {picture}?",
            "What is this?", "Which things are in the {picture}?", "Name the things in the {picture}.",
            "What things do you see?"]
AT_PLACE = ["What is {place}?", "What is {place} of the {picture}?", "Which thing is {place}?",
            "What do you see {place}?", "What can be seen {place}?", "Is there something {place}? What is it?"]
WHERE = ["Where is the {name}?", "Where is the {name} in the {picture}?", "Where can I find the {name}?",
         "In which part of the {picture} is the {name}?", "Where do you see the {name}?", "Locate the {name}."]
HOW_MANY = ["How many {names} are there?", "How many {names} are in the {picture}?", "How many {names} do you see?",
            "Count the {names}.", "What is the number of {names}?", "How many {names} can you see in the {picture}?"]
IS_THERE = ["Is there {a_name}?", "Is there {a_name} in the {picture}?", "Do you see {a_name}?",
            "Can you see {a_name} in the {picture}?", "Does the {picture} show {a_name}?", "Is {a_name} in the {picture}?"]
READ = ["What does it say?", "What is written in the {picture}?", "Read the text.", "What does the text say?",
        "Which word or number is printed in the {picture}?", "Read what is written.", "What text do you see?"]
BACKGROUND = ["What {colour} is the background?", "Which {colour} is the background?", "What is the {colour} of the background?",
              "Which {colour} does the background have?", "What {colour} is behind the things?", "Name the {colour} of the background."]
COLOUR_OF = ["What {colour} is the {name}?", "Which {colour} is the {name}?", "What is the {colour} of the {name}?",
             "Which {colour} does the {name} have?"]


def task_name(rng, scene):
    if rng.random() < 0.35:
        return [(pick(rng, CONTENTS), contents(scene))]
    taken = [t.place for t in scene.things]
    place = rng.choice(taken) if taken and rng.random() < 0.8 else rng.choice(PLACES)
    return [(pick(rng, AT_PLACE, place=spoken(place, rng)), at_place(scene, place))]


def task_locate(rng, scene):
    name = some_name(rng, scene, 0.85)
    return [(pick(rng, WHERE, name=name), location(scene, name))]


def task_colour(rng, scene):
    options = [("background", scene.background)]
    kinds = [t.kind for t in scene.things]
    options += [(t.kind, t.colour) for t in scene.things if t.colour and kinds.count(t.kind) == 1] * 2
    if scene.text:
        options += [("number" if scene.is_number else "word", scene.text_colour)] * 2
    name, colour = rng.choice(options)
    wordings = BACKGROUND if name == "background" else COLOUR_OF
    return [(pick(rng, wordings, name=name), f"The {name} is {colour}.")]


def task_yesno(rng, scene):
    if rng.random() < 0.15:
        question = pick(rng, ["Is there any text in the {picture}?", "Is something written in the {picture}?"])
        return [(question, f'Yes, it says "{scene.text}".' if scene.text else "No, there is no text in the picture.")]
    if rng.random() < 0.15:
        colour = scene.background if rng.random() < 0.5 else rng.choice(COLOUR_NAMES)
        yes = "Yes" if colour == scene.background else "No"
        return [(pick(rng, ["Is the background {shade}?", "Does the {picture} have {shade_a} background?"],
                      shade=colour, shade_a=a(colour)), f"{yes}, the background is {scene.background}.")]
    name = some_name(rng, scene, 0.55)
    return [(pick(rng, IS_THERE, a_name=a(name)), exists(scene, name))]


def task_count(rng, scene):
    roll = rng.random()
    if roll < 0.25 and not scene.text:
        k = len(scene.things)
        answer = ["There is nothing in the picture.", "There is one thing."][k] if k < 2 else f"There are {NUMBERS[k]} things."
        return [(pick(rng, HOW_MANY, names="things"), answer)]
    shapes = [t.kind for t in scene.things if t.colour]
    if roll < 0.4 and shapes:
        kind = rng.choice(shapes)
        k = shapes.count(kind)
        answer = f"There is one {kind}." if k == 1 else f"There are {NUMBERS[k]} {plural(kind)}."
        return [(pick(rng, HOW_MANY, names=plural(kind)), answer)]
    names = [t.name for t in scene.things]
    repeated = [n for n in names if names.count(n) > 1]
    name = rng.choice(repeated) if repeated and rng.random() < 0.6 else some_name(rng, scene, 0.8)
    return [(pick(rng, HOW_MANY, names=plural(name)), how_many(scene, name))]


def task_read(rng, scene):
    if not scene.text and rng.random() < 0.8:
        return None
    return [(pick(rng, READ), reading(scene))]


def task_describe(rng, scene):
    return [(pick(rng, DESCRIBE), description(scene))]


def side_answer(things, side):
    k = sum(t.place.split(" ")[-1] == side for t in things)
    return f"{cap(NUMBERS[k]) if k else 'None'} of them {'is' if k < 2 else 'are'} on the {side}."


def task_followup(rng, scene):
    """Two or three turns in one conversation."""
    if not scene.things:
        return None
    kind = rng.randrange(5)
    names = [t.name for t in scene.things]
    if kind == 0:
        repeated = [n for n in names if names.count(n) > 1]
        if not repeated:
            kind = rng.randrange(1, 5)
        else:
            name = rng.choice(repeated)
            side = rng.choice(["left", "right"])
            turns = [(pick(rng, HOW_MANY, names=plural(name)), how_many(scene, name))]
            if rng.random() < 0.5:
                turns.append((pick(rng, ["Where are they?", "And where are they?", "Where exactly?"]), location(scene, name)))
            turns.append((pick(rng, [f"And how many of them are on the {side}?", f"How many of them are on the {side}?"]),
                          side_answer(named(scene, name), side)))
            return turns
    if kind == 1:
        name = some_name(rng, scene, 0.85)
        turns = [(pick(rng, IS_THERE, a_name=a(name)), exists(scene, name))]
        plural_ = len(named(scene, name)) > 1
        where = ["Where are they?", "And where are they?"] if plural_ else ["Where is it?", "And where is it?", "Where exactly?"]
        return turns + [(pick(rng, where), location(scene, name))]
    if kind == 2:
        first, second = rng.choice([t.place for t in scene.things]), rng.choice(PLACES)
        if rng.random() < 0.5:
            second = rng.choice([t.place for t in scene.things])
        return [(pick(rng, AT_PLACE, place=spoken(first, rng)), at_place(scene, first)),
                (pick(rng, ["And {place}?", "And what is {place}?", "What about {place}?"], place=spoken(second, rng)),
                 at_place(scene, second))]
    if kind == 3:
        first, second = rng.choice(names), some_name(rng, scene, 0.7)
        return [(pick(rng, WHERE, name=first), location(scene, first)),
                (pick(rng, ["And the {name}?", "And where is the {name}?", "What about the {name}?"], name=second),
                 location(scene, second))]
    first, second = some_name(rng, scene, 0.8), some_name(rng, scene, 0.7)
    return [(pick(rng, HOW_MANY, names=plural(first)), how_many(scene, first)),
            (pick(rng, ["And {names}?", "And how many {names}?", "What about {names}?"], names=plural(second)),
             how_many(scene, second))]


TASKS = {"name": task_name, "locate": task_locate, "colour": task_colour, "yesno": task_yesno, "count": task_count,
         "read": task_read, "describe": task_describe, "followup": task_followup}


def ask(rng, scene, weights, count):
    """`count` conversations about a picture: [(task, turns), ...]."""
    out = []
    while len(out) < count:
        task = rng.choices(list(TASKS), [weights[t] for t in TASKS])[0]
        if scene.text and rng.random() < weights["read_text"]:
            task = "read"
        turns = TASKS[task](rng, scene)
        if turns:
            out.append((task, turns))
    return out


# --- clips -----------------------------------------------------------------

HAPPENS = ["What happens in the video?", "What happens?", "What is happening in the video?", "Describe the video.",
           "What changes in the video?", "What do you see happening in the clip?", "Describe what happens in these frames."]
MOVES = {"left": "moves to the left", "right": "moves to the right", "up": "moves up", "down": "moves down",
         "appears": "appears", "disappears": "disappears", "grows": "gets bigger", "shrinks": "gets smaller"}


def happening(clip):
    if clip.event == "nothing":
        return "Nothing changes."
    subject = a(clip.actor.name) if clip.event == "appears" else f"the {clip.actor.name}"
    return f"{cap(subject)} {MOVES[clip.event]}."


def ask_clip(rng, clip, count):
    """`count` conversations about a clip, the first always 'what happens'."""
    out = [("clip", [(pick(rng, HAPPENS), happening(clip))])]
    while len(out) < count:
        name = clip.actor.name
        roll = rng.random()
        if roll < 0.3 and clip.event != "nothing":
            out.append(("clip", [(pick(rng, ["What does the {name} do?", "What happens to the {name}?"], name=name),
                                  f"The {name} {MOVES[clip.event]}.")]))
        elif roll < 0.5:
            out.append(("clip", [(pick(rng, ["What {colour} is the background of the video?", "Which {colour} is the background?"]),
                                  f"The background is {clip.background}.")]))
        elif clip.event != "nothing":
            other = f"Yes, there is {a(clip.other.name)}." if clip.other else "No, there is nothing else."
            out.append(("followup", [(pick(rng, HAPPENS), happening(clip)),
                                     (pick(rng, ["Is there anything else?", "And is there something else in the video?"]), other)]))
        else:
            names = [a(clip.actor.name)] + ([a(clip.other.name)] if clip.other else [])
            if clip.other and clip.other.cell < actor_cell(clip):
                names.reverse()
            out.append(("clip", [(pick(rng, ["What is in the video?", "Which things are in the video?"]), cap(join(names)) + ".")]))
    return out


def actor_cell(clip):
    thing = clip.frames[0].things[-1]
    return 3 * int(thing.y // 64) + int(thing.x // 64)
