//! Column names of a block as numbers; and whether a line has one twice.

use std::collections::HashMap;

/// Numbers names in order of first appearance.
///
/// Lines of one file have the same keys in the same order, so the name at a place is first compared with the one that
/// stood there in the line before; only surprises are hashed (with the standard library's keyed hash, because keys
/// are foreign).
#[derive(Default)]
pub struct Names {
    by_key: HashMap<Vec<u8>, u32>,
    /// Name at each place of the last line.
    places: Vec<u32>,
    /// Line in which each name was last seen.
    seen: Vec<u32>,
    line: u32,
}

impl Names {
    /// A new line begins.
    pub fn begin(&mut self) {
        self.line += 1;
    }

    /// The number of the key at a place of the line; None where the line has it already.
    #[inline]
    pub fn resolve(&mut self, key: &[u8], place: usize, names: &mut Vec<String>) -> Option<u32> {
        let guess = self.places.get(place).copied();
        let right = guess.filter(|guess| names.get(*guess as usize).is_some_and(|name| name.as_bytes() == key));
        let name = match right {
            Some(name) => name,
            None => self.look_up(key, place, names),
        };
        let seen = self.seen.get_mut(name as usize)?;
        (std::mem::replace(seen, self.line) != self.line).then_some(name)
    }

    fn look_up(&mut self, key: &[u8], place: usize, names: &mut Vec<String>) -> u32 {
        let name = match self.by_key.get(key) {
            Some(name) => *name,
            None => self.add(key, names),
        };
        match self.places.get_mut(place) {
            Some(guess) => *guess = name,
            None => self.places.push(name),
        }
        name
    }

    fn add(&mut self, key: &[u8], names: &mut Vec<String>) -> u32 {
        let name = names.len() as u32;
        names.push(String::from_utf8_lossy(key).into_owned());
        self.by_key.insert(key.to_vec(), name);
        self.seen.push(0);
        name
    }

    /// Takes back all names but the first `names_before`.
    pub fn forget(&mut self, names: &mut Vec<String>, names_before: usize) {
        for name in names.drain(names_before..) {
            self.by_key.remove(name.as_bytes());
        }
        self.seen.truncate(names_before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_key_is_found_whatever_its_place() {
        let (mut names, mut list) = (Names::default(), Vec::new());
        names.begin();
        assert_eq!(names.resolve(b"a", 0, &mut list), Some(0));
        assert_eq!(names.resolve(b"b", 1, &mut list), Some(1));
        assert_eq!(names.resolve(b"a", 2, &mut list), None);
        names.begin();
        assert_eq!(names.resolve(b"b", 0, &mut list), Some(1));
        assert_eq!(names.resolve(b"a", 1, &mut list), Some(0));
    }

    #[test]
    fn names_of_a_damaged_line_are_forgotten() {
        let (mut names, mut list) = (Names::default(), Vec::new());
        names.begin();
        names.resolve(b"a", 0, &mut list);
        names.begin();
        names.resolve(b"junk", 0, &mut list);
        names.forget(&mut list, 1);
        names.begin();
        assert_eq!(names.resolve(b"b", 0, &mut list), Some(1));
        assert_eq!(list, ["a", "b"]);
    }
}
