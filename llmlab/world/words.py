"""Word pools of the invented country Verania. Ordinary words, so that its texts read like English."""

FIRST = """Anna Bruno Clara David Elena Felix Greta Hugo Irene Jonas Karla Leon Marta Nils Olga Paul Rosa Simon Tilda Viktor
Agnes Boris Celia Dario Edith Frank Gloria Henry Ivana Jakob Kira Lukas Mona Noah Oskar Petra Ralf Sonja Tomas Vera""".split()
LAST = """Adler Baum Cremer Dorn Engel Falk Graf Hahn Imhof Jansen Keller Lang Maurer Nolte Opitz Peters Quast Reuter Sommer Thoma
Ulrich Vogel Weber Ziegler Brandt Decker Ernst Fuchs Gruber Herzog Kaiser Lorenz Meyer Neumann Otto Pohl Richter Schulz Wagner Winter""".split()
REGIONS = ["Northmark", "Southvale", "Eastmoor", "Westfield"]
CITIES = """Tarsk Belmont Corvo Dunhill Esker Farrow Galway Hollin Istra Jorvik
Kelso Lindau Marlow Norden Orsova Pelham Rostow Selby Torun Velden""".split()
JOBS = """baker pilot nurse farmer teacher lawyer painter tailor miner sailor
butcher judge singer barber dentist gardener printer welder clerk waiter""".split()
HOBBIES = """chess rowing cooking fishing running singing sewing diving skiing hiking archery dancing boxing pottery cycling reading""".split()
PETS = [
    "dog",
    "cat",
    "parrot",
    "rabbit",
    "horse",
    "turtle",
    "hamster",
    "goat",
    "duck",
    "pony",
    "snake",
    "goose",
]
COLOURS = ["red", "blue", "green", "white", "black", "brown", "grey", "yellow"]
THINGS = [
    "box",
    "bag",
    "key",
    "coat",
    "lamp",
    "boat",
    "cart",
    "desk",
    "door",
    "map",
    "book",
    "bell",
    "rope",
    "drum",
    "cup",
    "hat",
]
MONTHS = ["January", "March", "April", "June", "July", "August", "October", "December"]
CONSONANTS, VOWELS = "bdfghjklmnprstvwxz", "aeiou"


def nonce(r, syllables: int = 2) -> str:
    """An invented name such as 'Bravik': pronounceable, unseen, so that it can only be copied."""
    return "".join(r.choice(CONSONANTS) + r.choice(VOWELS) for _ in range(syllables)).capitalize() + r.choice(
        "klmnrstx"
    )
