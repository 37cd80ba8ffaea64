//! Which file of `src` imports which, read from its `use` lines and from the paths in its
//! expressions, and what it shows. A small parser: it knows texts, comments, modules, the heads of
//! items and `use` trees, and nothing else of the language. What only tests need is left out if it
//! is marked there, or in a file that is called so.

use std::collections::{BTreeMap, BTreeSet};

/// A file that imports another one, and the line where it does.
pub(crate) struct Import {
    pub(crate) from: String,
    pub(crate) line: usize,
    pub(crate) to: String,
}

#[derive(Clone)]
struct Token {
    text: String,
    line: usize,
}

type Path = Vec<String>;

/// A path as it is written, in the module where it is written.
struct Mention {
    module: Path,
    path: Path,
    /// What a `use` calls it.
    name: String,
    line: usize,
}

/// What a file shows to other rooms.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shown {
    Module(String),
    Item(String),
    /// All that is in some module.
    All,
}

/// A file of production code, read.
pub(crate) struct Code {
    pub(crate) path: String,
    module: Path,
    tokens: Vec<Token>,
}

impl Code {
    /// `None` for a file of tests.
    pub(crate) fn read(path: &str, text: &str) -> Option<Self> {
        let inside = path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let mut module: Path = inside.split('/').map(str::to_owned).collect();
        let of_tests = |part: &String| ["tests", "fuzz"].contains(&part.as_str());
        if module.iter().any(of_tests) || ["simulation", "testing"].contains(&&*module[0]) {
            return None;
        }
        if module.last().is_some_and(|last| last == "mod") || inside == "lib" {
            module.pop();
        }
        let tokens = without_tests(&tokens(&without_texts(text)));
        Some(Self { path: path.to_owned(), module, tokens })
    }

    /// The functions with more lines than `most`, as `file:line: name, lines`.
    pub(crate) fn long_functions(&self, most: usize) -> Vec<String> {
        let mut found = Vec::new();
        for (at, pair) in self.tokens.windows(2).enumerate() {
            let [word, name] = pair else { continue };
            if word.text != "fn" || !is_word(&name.text) {
                continue;
            }
            let end = end_of_item(&self.tokens, at);
            let last = self.tokens.get(end - 1).map_or(name.line, |token| token.line);
            let lines = last - word.line + 1;
            if lines > most {
                found.push(format!("{}:{}: `{}`, {lines} lines", self.path, word.line, name.text));
            }
        }
        found
    }

    /// Where one of the words stands, as `file:line: word`.
    pub(crate) fn mentions(&self, words: &[&[&str]]) -> Vec<String> {
        let mut found = Vec::new();
        for at in 0..self.tokens.len() {
            for word in words {
                let mut rest = self.tokens[at..].iter().map(|token| token.text.as_str());
                if word.iter().all(|part| rest.next() == Some(part)) {
                    let line = self.tokens[at].line;
                    found.push(format!("{}:{line}: `{}`", self.path, word.concat()));
                }
            }
        }
        found
    }

    fn paths(&self) -> Vec<Mention> {
        let mut reader = Reader { code: self, at: 0, module: self.module.clone(), found: vec![] };
        reader.read();
        reader.found
    }

    /// What the types, traits and aliases are called that are defined here.
    pub(crate) fn types(&self) -> BTreeSet<&str> {
        let mut types = BTreeSet::new();
        let mut depth = 0;
        for pair in self.tokens.windows(2) {
            let [word, name] = pair else { continue };
            let is_definition = match word.text.as_str() {
                "struct" | "enum" | "trait" => true,
                "type" => depth == 0, // otherwise it belongs to a trait
                brace => {
                    depth += i32::from(brace == "{") - i32::from(brace == "}");
                    false
                }
            };
            // The arguments of a macro may have such words, too.
            if is_definition && name.text.starts_with(char::is_uppercase) {
                types.insert(&*name.text);
            }
        }
        types
    }

    /// The modules and items that every room may name, if it may name this file.
    pub(crate) fn shown(&self) -> BTreeSet<Shown> {
        let mut shown = BTreeSet::new();
        let mut at = 0;
        while at < self.tokens.len() {
            // Also what is said of the whole file.
            let bang = usize::from(self.text(at + 1) == "!");
            if self.text(at) == "#" && self.text(at + 1 + bang) == "[" {
                at = end_of_group(&self.tokens, at + 1 + bang);
                continue;
            }
            let end = end_of_item(&self.tokens, at);
            if let Some(begin) = self.behind_visibility(at) {
                shown.extend(self.names(begin, end));
            }
            at = end.max(at + 1);
        }
        shown
    }

    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    /// Where the item begins whose visibility is at `at`, if all of the crate sees it.
    fn behind_visibility(&self, at: usize) -> Option<usize> {
        if self.text(at) != "pub" {
            return None;
        }
        if self.text(at + 1) != "(" {
            return Some(at + 1);
        }
        // To the face of a room `super` is the crate; but nobody means to show a module by it.
        let super_is_crate = self.module.len() == 1 && self.text(at + 4) != "mod";
        let everywhere =
            self.text(at + 2) == "crate" || self.text(at + 2) == "super" && super_is_crate;
        everywhere.then_some(at + 4)
    }

    /// What the item between these tokens is called, or all that is imported by it.
    fn names(&self, begin: usize, end: usize) -> Vec<Shown> {
        const WORDS: [&str; 8] =
            ["const", "enum", "fn", "static", "struct", "trait", "type", "union"];
        if self.text(begin) == "mod" {
            return vec![Shown::Module(self.text(begin + 1).to_owned())];
        }
        if self.text(begin) == "use" {
            let mut reader = Reader { code: self, at: begin + 1, module: vec![], found: vec![] };
            reader.tree(&[]);
            let shown = |name| if name == "*" { Shown::All } else { Shown::Item(name) };
            return reader.found.into_iter().map(|mention| shown(mention.name)).collect();
        }
        let is_name = |at: &usize| {
            WORDS.contains(&self.text(at - 1))
                && !["async", "extern", "fn", "unsafe"].contains(&self.text(*at))
        };
        let name = (begin + 1..end).find(is_name).map(|at| Shown::Item(self.text(at).to_owned()));
        name.into_iter().collect()
    }
}

/// The text with blanks in place of comments and of what stands between quotation marks.
fn without_texts(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    while at < chars.len() {
        let end = end_of_text(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        let blanks = chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' });
        out.extend(blanks);
        at = end;
    }
    out
}

/// Where the comment or literal ends that begins here; `at` itself if none does.
fn end_of_text(chars: &[char], at: usize) -> usize {
    let get = |index: usize| chars.get(index).copied().unwrap_or('\n');
    let after_word = at > 0 && (get(at - 1).is_alphanumeric() || get(at - 1) == '_');
    match get(at) {
        '/' if get(at + 1) == '/' => {
            (at..chars.len()).find(|index| get(*index) == '\n').unwrap_or(chars.len())
        }
        '/' if get(at + 1) == '*' => {
            let ends = |index: &usize| get(*index) == '*' && get(*index + 1) == '/';
            (at + 2..chars.len()).find(ends).map_or(chars.len(), |end| end + 2)
        }
        'r' if !after_word || get(at - 1) == 'b' => {
            let hashes = (at + 1..chars.len()).take_while(|index| get(*index) == '#').count();
            let first = at + 1 + hashes;
            if get(first) != '"' {
                return at;
            }
            let ends = |index: &usize| {
                get(*index) == '"' && (1..=hashes).all(|more| get(*index + more) == '#')
            };
            (first + 1..chars.len()).find(ends).map_or(chars.len(), |end| end + 1 + hashes)
        }
        '"' => end_of_quotation(chars, at, '"'),
        // Otherwise it is a lifetime.
        '\'' if get(at + 1) == '\\' || get(at + 2) == '\'' => end_of_quotation(chars, at, '\''),
        _ => at,
    }
}

fn end_of_quotation(chars: &[char], at: usize, mark: char) -> usize {
    let mut index = at + 1;
    while index < chars.len() && chars[index] != mark {
        index += if chars[index] == '\\' { 2 } else { 1 };
    }
    (index + 1).min(chars.len())
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let mut rest = content.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = match first {
                _ if word > 0 => word,
                ':' if rest.starts_with("::") => 2,
                _ => first.len_utf8(),
            };
            tokens.push(Token { text: rest[..length].to_owned(), line });
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Leaves out every item below `#[cfg(test)]` or a condition that has `test` in it.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_attribute(tokens, at) {
            let end = end_of_group(tokens, at + 1);
            let words: Vec<_> = tokens[at..end].iter().map(|token| token.text.as_str()).collect();
            let of_tests = words.contains(&"cfg") && words.contains(&"test");
            if of_tests && !words.contains(&"not") {
                at = end_of_item(tokens, end);
                continue;
            }
            kept.extend_from_slice(&tokens[at..end]);
            at = end;
            continue;
        }
        kept.push(tokens[at].clone());
        at += 1;
    }
    kept
}

fn is_attribute(tokens: &[Token], at: usize) -> bool {
    let text = |index: usize| tokens.get(index).map(|token| token.text.as_str());
    text(at) == Some("#") && text(at + 1) == Some("[")
}

/// The index behind the bracket that closes the one at `at`.
fn end_of_group(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}

const ITEMS: [&str; 12] = [
    "fn", "mod", "use", "impl", "struct", "enum", "const", "static", "type", "trait", "let",
    "async",
];

/// The index behind the item that begins at `at`, with its attributes; also behind a field, a
/// variant or a statement.
fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    while is_attribute(tokens, at) {
        at = end_of_group(tokens, at + 1);
    }
    let begins = tokens[at..].iter().take(6).take_while(|token| token.text != "{");
    let is_item = begins.into_iter().any(|token| ITEMS.contains(&token.text.as_str()));
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "{" => return end_of_group(tokens, at),
            "(" | "[" => at = end_of_group(tokens, at),
            ";" => return at + 1,
            "," if !is_item => return at + 1,
            // The end of what it stands in.
            "}" | ")" | "]" => return at,
            _ => at += 1,
        }
    }
    at
}

/// Walks through the tokens of a file and notes the paths.
struct Reader<'a> {
    code: &'a Code,
    at: usize,
    module: Path,
    found: Vec<Mention>,
}

impl Reader<'_> {
    fn text(&self, ahead: usize) -> &str {
        self.code.tokens.get(self.at + ahead).map_or("", |token| &token.text)
    }

    fn behind(&self, back: usize) -> &str {
        self.at.checked_sub(back).map_or("", |at| &self.code.tokens[at].text)
    }

    fn read(&mut self) {
        // How deep the braces were where each module within the file began.
        let mut begun = Vec::new();
        let mut depth = 0;
        while self.at < self.code.tokens.len() {
            match self.text(0) {
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    if begun.last() == Some(&depth) {
                        begun.pop();
                        self.module.pop();
                    }
                }
                "mod" if self.text(2) == "{" => {
                    begun.push(depth);
                    depth += 1;
                    self.module.push(self.text(1).to_owned());
                    self.at += 2;
                }
                "use" if is_word(self.text(1)) => {
                    self.at += 1;
                    self.tree(&[]);
                }
                word if is_word(word) && self.text(1) == "::" => self.path(),
                _ => {}
            }
            self.at += 1;
        }
    }

    /// One tree of a `use`; afterwards `at` is at the token behind it.
    fn tree(&mut self, before: &[String]) {
        let mut path = before.to_vec();
        let mut line = 0;
        loop {
            let word = self.text(0).to_owned();
            line = self.code.tokens.get(self.at).map_or(line, |token| token.line);
            self.at += 1;
            if word == "{" {
                while !["}", ""].contains(&self.text(0)) {
                    self.tree(&path);
                    if self.text(0) == "," {
                        self.at += 1;
                    }
                }
                self.at += 1;
                return;
            }
            // In braces, `self` is what stands before them.
            if word != "self" || path.is_empty() {
                path.push(word);
            }
            if self.text(0) != "::" {
                break;
            }
            self.at += 1;
        }
        let mut name = path.last().cloned().unwrap_or_default();
        if self.text(0) == "as" {
            self.text(1).clone_into(&mut name);
            self.at += 2;
        }
        self.found.push(Mention { module: self.module.clone(), path, name, line });
    }

    /// A path in an expression or a type; afterwards `at` is at its last token.
    fn path(&mut self) {
        let begins = !["::", ".", "$"].contains(&self.behind(1));
        let is_visibility = self.behind(1) == "in" && self.behind(2) == "(";
        let line = self.code.tokens[self.at].line;
        let mut path = vec![self.text(0).to_owned()];
        while self.text(1) == "::" && is_word(self.text(2)) {
            self.at += 2;
            path.push(self.text(0).to_owned());
        }
        // What a macro names with `$crate` is named by those who use the macro.
        if begins && !is_visibility {
            let name = String::new();
            self.found.push(Mention { module: self.module.clone(), path, name, line });
        }
    }
}

/// All imports between the files, each pair of files once: where it comes first.
pub(crate) fn imports(files: &[Code]) -> Vec<Import> {
    let mut modules: BTreeMap<_, _> = files.iter().map(|file| (&file.module, file)).collect();
    let aliases = aliases(files, &modules);
    for (alias, file) in &aliases {
        modules.entry(alias).or_insert(file); // the first one, if it depends on the system
    }
    let root = Vec::new();
    let exported = modules.get(&root).map_or_else(Vec::new, |lib| lib.paths());
    let exports: BTreeMap<_, _> =
        exported.iter().map(|export| (export.name.as_str(), &export.path)).collect();
    let resolve = |mention: &Mention| {
        let (start, rest) = start(&modules, mention)?;
        let found = walk(&modules, start, rest);
        // What the crate exports is imported from where it is.
        let export =
            found.0.is_empty().then(|| found.1.iter().find_map(|n| exports.get(n.as_str())));
        let found = export.flatten().map_or(found.0, |path| walk(&modules, vec![], &path[1..]).0);
        Some(modules.get(&found)?.path.clone())
    };
    let mut seen = BTreeSet::new();
    let mut imports = Vec::new();
    for file in files {
        for mention in file.paths() {
            let Some(to) = resolve(&mention) else { continue };
            if to != file.path && seen.insert((file.path.clone(), to.clone())) {
                imports.push(Import { from: file.path.clone(), line: mention.line, to });
            }
        }
    }
    imports
}

/// The modules that go by another name as well, as in `use self::unix as system`.
fn aliases<'a>(files: &'a [Code], modules: &BTreeMap<&'a Path, &'a Code>) -> Vec<(Path, &'a Code)> {
    let mentions = files.iter().flat_map(Code::paths);
    let renamed = mentions.filter(|one| !one.name.is_empty() && one.path.last() != Some(&one.name));
    let aliases = renamed.filter_map(|mention| {
        let (start, rest) = start(modules, &mention)?;
        let (module, []) = walk(modules, start, rest) else { return None };
        let file = *modules.get(&module)?;
        Some(([mention.module.as_slice(), &[mention.name]].concat(), file))
    });
    aliases.collect()
}

/// In which module a path begins, if it is one of this crate, and what is left of it.
fn start<'a>(
    modules: &BTreeMap<&Path, &Code>,
    mention: &'a Mention,
) -> Option<(Path, &'a [String])> {
    let mut module = mention.module.clone();
    let mut rest = mention.path.as_slice();
    match rest.first()?.as_str() {
        "crate" => return Some((Vec::new(), &rest[1..])),
        "self" => return Some((module, &rest[1..])),
        "super" => {
            while rest.first().is_some_and(|word| word == "super") {
                module.pop();
                rest = &rest[1..];
            }
            return Some((module, rest));
        }
        // A module below this one can be named without `self`.
        child => module.push(child.to_owned()),
    }
    modules.contains_key(&module).then_some((module, &rest[1..]))
}

/// Follows the path from module to module as far as they are files.
fn walk<'a>(
    modules: &BTreeMap<&Path, &Code>,
    mut module: Path,
    mut rest: &'a [String],
) -> (Path, &'a [String]) {
    while let [next, others @ ..] = rest {
        module.push(next.clone());
        let Some(file) = modules.get(&module) else {
            module.pop();
            break;
        };
        module.clone_from(&file.module); // not by another name
        rest = others;
    }
    // A module within a file is that file.
    while !modules.contains_key(&module) && module.pop().is_some() {}
    (module, rest)
}

/// The circles: sets of files each of which imports, by way of others, itself.
pub(crate) fn circles(imports: &[Import]) -> Vec<BTreeSet<&str>> {
    let mut circles: Vec<BTreeSet<&str>> = Vec::new();
    let reached: BTreeMap<_, _> =
        imports.iter().map(|import| (import.from.as_str(), reach(imports, &import.from))).collect();
    for (file, others) in &reached {
        if others.contains(file) && !circles.iter().any(|circle| circle.contains(file)) {
            let back = |other: &&&str| reached.get(**other).is_some_and(|all| all.contains(file));
            circles.push(others.iter().filter(back).copied().collect());
        }
    }
    circles
}

fn reach<'a>(imports: &'a [Import], file: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(file) = open.pop() {
        for import in imports.iter().filter(|import| import.from == file) {
            if reached.insert(import.to.as_str()) {
                open.push(&import.to);
            }
        }
    }
    reached
}

/// The imports of the shortest way from the file, in its circle, back to it.
pub(crate) fn way_round<'a>(
    imports: &'a [Import],
    circle: &BTreeSet<&str>,
    file: &str,
) -> Vec<&'a Import> {
    let mut ways: Vec<Vec<&Import>> = vec![Vec::new()];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let here = way.last().map_or(file, |import| &import.to);
            let next = imports.iter().filter(|import| import.from == here);
            for import in next.filter(|import| circle.contains(&*import.to)) {
                let way: Vec<_> = way.iter().copied().chain([import]).collect();
                if import.to == file {
                    return way;
                }
                if seen.insert(&import.to) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    Vec::new()
}
