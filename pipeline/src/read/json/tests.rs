use super::*;
use schemas::config::Read;
use schemas::rule::InvalidRule;

fn options(change: impl FnOnce(&mut Read)) -> Options {
    let mut config = Read::default();
    change(&mut config);
    Options::from_config(&config).unwrap()
}

fn parsed_with(options: &Options, line: &[u8]) -> Result<(Text, Records), Fault> {
    let mut records = Records::default();
    let text = Parser::new(options).object(line, &mut records)?;
    Ok((text, records))
}

fn parsed(line: &str) -> Result<(Text, Records), Fault> {
    parsed_with(&options(|_| {}), line.as_bytes())
}

fn detail(line: &str) -> String {
    let fault = parsed(line).map(|_| ()).unwrap_err();
    assert_eq!(fault.rule, InvalidRule::JsonSyntax, "{line}");
    fault.detail
}

fn field(value: &str) -> (Kind, String) {
    let (_, records) = parsed(&format!("{{\"x\":{value}}}")).unwrap();
    let field = records.fields[0];
    (field.kind, records.str(field.value).to_owned())
}

fn text(line: &str) -> String {
    match parsed(line).unwrap() {
        (Text::String(span), records) => records.str(span).to_owned(),
        (other, _) => panic!("{other:?}"),
    }
}

#[test]
fn fields_keep_their_order_and_the_text_is_not_among_them() {
    let (text, records) = parsed(r#" {"id" : 7,"text":"hi" , "b":null, "c":true} "#).unwrap();
    assert!(matches!(text, Text::String(span) if records.str(span) == "hi"));
    assert_eq!(records.names, ["id", "b", "c"]);
    let kinds: Vec<Kind> = records.fields.iter().map(|field| field.kind).collect();
    assert_eq!(kinds, [Kind::Int, Kind::Null, Kind::Bool]);
}

#[test]
fn values_keep_their_lexeme_and_strings_their_content() {
    assert_eq!(field("-0"), (Kind::Int, "-0".to_owned()));
    assert_eq!(field("1E5"), (Kind::Float, "1E5".to_owned()));
    assert_eq!(field("9007199254740993"), (Kind::WideInt, "9007199254740993".to_owned()));
    assert_eq!(field("18446744073709551616"), (Kind::BigInt, "18446744073709551616".to_owned()));
    assert_eq!(field(r#"[ 1, {"a":"\u0041"} ]"#), (Kind::Json, r#"[ 1, {"a":"\u0041"} ]"#.to_owned()));
    assert_eq!(field(r#""a\"b""#), (Kind::String, "a\"b".to_owned()));
    assert_eq!(field("false"), (Kind::Bool, "false".to_owned()));
}

#[test]
fn escapes_become_characters() {
    assert_eq!(text(r#"{"text":"\"\\\/\b\f\n\r\t\u00e9\u4f60\ud83d\udc69\u0000."}"#), "\"\\/\u{8}\u{c}\n\r\té你👩\0.");
}

#[test]
fn the_text_column_is_found_under_an_escaped_key() {
    assert_eq!(text(r#"{"t\u0065xt":"x"}"#), "x");
}

#[test]
fn a_text_that_is_no_string_is_told_by_its_kind() {
    assert_eq!(parsed(r#"{"text":[1]}"#).unwrap().0, Text::Other(Kind::Json));
    assert_eq!(parsed(r#"{"text":null}"#).unwrap().0, Text::Other(Kind::Null));
    assert_eq!(parsed("{}").unwrap().0, Text::Absent);
}

#[test]
fn each_fault_names_what_was_expected_and_found() {
    assert_eq!(detail("[1]"), "expected '{' (a line is one JSON object) at byte 0, found '['");
    assert_eq!(detail(r#"{"a":1 "b":2}"#), "expected ',' or '}' at byte 7, found '\"'");
    assert_eq!(detail(r#"{"a":1"#), "expected ',' or '}' at byte 6, found end of line");
    assert_eq!(detail(r#"{"a":1,}"#), "expected a key in double quotes at byte 7, found '}'");
    assert_eq!(detail(r#"{'a':1}"#), "expected a key in double quotes at byte 1, found '\\''");
    assert_eq!(detail(r#"{"a" 1}"#), "expected ':' at byte 5, found '1'");
    assert_eq!(detail(r#"{"a":}"#), "expected a JSON value at byte 5, found '}'");
    assert_eq!(detail(r#"{"a":tru}"#), "expected a JSON value at byte 5, found 't'");
    assert_eq!(detail(r#"{"a":NaN}"#), "expected a JSON value at byte 5, found 'N'");
    assert_eq!(detail(r#"{"a":-Infinity}"#), "expected a digit at byte 6, found 'I'");
    assert_eq!(detail(r#"{"a":01}"#), "expected ',' or '}' at byte 6, found '1'");
    assert_eq!(detail(r#"{"a":1.}"#), "expected a digit at byte 7, found '}'");
    assert_eq!(detail(r#"{"a":1e400}"#), "expected a number within the range of a 64-bit float at byte 5, found '1'");
    assert_eq!(detail("{\"a\":\"x\u{1}\"}"), "expected an escape for a control character at byte 7, found byte 0x01");
    assert_eq!(detail(r#"{"a":"x"#), "expected a closing '\"' at byte 7, found end of line");
    assert_eq!(detail(r#"{"a":"\x"}"#), "expected one of \"\\/bfnrtu after a backslash at byte 7, found 'x'");
    assert_eq!(detail(r#"{"a":"\u12g4"}"#), "expected four hexadecimal digits after \\u at byte 10, found 'g'");
    assert_eq!(detail(r#"{"a":"\ud800"}"#), "expected a surrogate pair at byte 6, found lone \\ud800");
    assert_eq!(detail(r#"{"a":"\udc00\ud800"}"#), "expected a surrogate pair at byte 6, found lone \\udc00");
    assert_eq!(detail(r#"{"a":"\ud800\u0041"}"#), "expected a surrogate pair at byte 6, found lone \\ud800");
    assert_eq!(detail(r#"{"a":1}x"#), "expected the end of the line at byte 7, found 'x'");
    assert_eq!(detail(r#"{"a":[1,]}"#), "expected a JSON value at byte 8, found ']'");
    assert_eq!(detail(r#"{"a":[1}"#), "expected ',' or ']' at byte 7, found '}'");
}

#[test]
fn duplicate_keys_are_faults_at_every_level() {
    assert_eq!(detail(r#"{"a":1,"a":2}"#), "expected each key once, found \"a\" again at byte 7");
    assert_eq!(detail(r#"{"text":"","text":""}"#), "expected each key once, found \"text\" again at byte 11");
    assert_eq!(detail(r#"{"a":1,"\u0061":2}"#), "expected each key once, found \"a\" again at byte 7");
    assert_eq!(detail(r#"{"x":[{"b":{"c":1,"c":2}}]}"#), "expected each key once, found \"c\" again at byte 18");
    assert!(parsed(r#"{"x":[{"b":1},{"b":2,"c":{"b":3}}],"b":4}"#).is_ok());
}

#[test]
fn a_duplicate_among_many_nested_keys_is_found() {
    let keys: Vec<String> = (0..50_000).map(|key| format!("\"k{key}\":0")).collect();
    assert!(parsed(&format!("{{\"x\":{{{}}}}}", keys.join(","))).is_ok());
    assert!(detail(&format!("{{\"x\":{{{},\"k777\":1}}}}", keys.join(","))).contains("\"k777\" again"));
    assert!(detail(&format!("{{{},\"k777\":1}}", keys.join(","))).contains("\"k777\" again"));
}

#[test]
fn nesting_is_allowed_up_to_the_limit_and_not_one_level_deeper() {
    let nested = |levels: usize| format!("{{\"x\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    assert!(parsed(&nested(128)).is_ok());
    let fault = parsed(&nested(129)).map(|_| ()).unwrap_err();
    assert_eq!(
        (fault.rule, fault.detail.as_str()),
        (InvalidRule::Depth, "expected at most 128 levels, found more at byte 132")
    );
    assert_eq!(parsed(&"[{\"a\":".repeat(100_000)).map(|_| ()).unwrap_err().rule, InvalidRule::JsonSyntax);
    assert_eq!(parsed(&"{\"a\":".repeat(100_000)).map(|_| ()).unwrap_err().rule, InvalidRule::Depth);
}

#[test]
fn nan_becomes_null_only_when_asked_for() {
    let accepting = options(|config| config.accept_nan = true);
    let line = br#"{"a":NaN,"b":-Infinity,"c":[NaN,{"d":Infinity}, null],"e":1}"#;
    let (_, records) = parsed_with(&accepting, line).unwrap();
    let values: Vec<_> = records.fields.iter().map(|field| (field.kind, records.str(field.value))).collect();
    let nested = r#"[null,{"d":null}, null]"#;
    assert_eq!(values, [(Kind::Null, "null"), (Kind::Null, "null"), (Kind::Json, nested), (Kind::Int, "1")]);
}

#[test]
fn with_a_template_the_text_column_is_a_field_like_others() {
    let templated = options(|config| config.text_template = Some("{text}".to_owned()));
    let (text, records) = parsed_with(&templated, br#"{"text":"a"}"#).unwrap();
    assert_eq!((text, records.names.as_slice()), (Text::Absent, ["text".to_owned()].as_slice()));
}
