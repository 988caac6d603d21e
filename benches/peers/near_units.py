"""Shingles as docs/FORMAT.md, section 10, has them: sets of runs of 5 units, as strings."""

ALONE = [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x3FFFF), (0xF900, 0xFAFF), (0x3005, 0x3007), (0x3041, 0x3096),
         (0x30A1, 0x30FA), (0x30FC, 0x30FE), (0x31F0, 0x31FF), (0xFF66, 0xFF9D), (0x0E01, 0x0EDF), (0x0F40, 0x0FBC),
         (0x1000, 0x109F), (0x1780, 0x17D3)]


def stands_alone(character):
    code = ord(character)
    return code >= 0xE00 and any(first <= code <= last for first, last in ALONE)


def units(text):
    found, word = [], []
    for character in text:
        alone = stands_alone(character)
        if not alone and character.isalnum():
            word.append(character.lower())
            continue
        if word:
            found.append("".join(word))
            word = []
        if alone:
            found.append(character)
    if word:
        found.append("".join(word))
    return found


def shingles(text):
    found = units(text)
    if len(found) >= 5:
        return {"\x1f".join(found[at:at + 5]) for at in range(len(found) - 4)}
    whole = "".join(text.lower().split())
    return {whole} if whole else set()
