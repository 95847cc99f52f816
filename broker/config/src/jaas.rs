//! One entry of a JAAS configuration, as `sasl.jaas.config` has it:
//! `MODULE required NAME="VALUE" NAME=VALUE;`

/// A login module with its options, in their order.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub module: String,
    pub options: Vec<(String, String)>,
}

/// Messages have no value: it may be a password.
pub fn parse(text: &str) -> Result<Login, String> {
    let words = words(text)?;
    let (module, rest) = words.split_first().ok_or("is empty")?;
    let (flag, rest) = rest.split_first().ok_or("has a module without a flag (required)")?;
    if !["required", "requisite", "sufficient", "optional"].contains(&&*flag.to_lowercase()) {
        return Err("has no flag (required) behind the module".to_owned());
    }
    let option = |word: &String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("has an option that is not of the form name=\"value\"".to_owned()),
    };
    let options = rest.iter().map(option).collect::<Result<_, _>>()?;
    Ok(Login { module: module.clone(), options })
}

/// Words between blanks, up to the semicolon that ends the entry; quotes are taken off.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ';' => {
                words.extend(Some(word).filter(|word| !word.is_empty()));
                return match chars.as_str().trim().is_empty() {
                    true => Ok(words),
                    false => Err("has more than one login module".to_owned()),
                };
            }
            '"' | '\'' => loop {
                match chars.next().ok_or("has a quote without an end")? {
                    end if end == c => break,
                    '\\' => word.push(chars.next().ok_or("has a quote without an end")?),
                    inner => word.push(inner),
                }
            },
            c if c.is_whitespace() => {
                words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
            }
            c => word.push(c),
        }
    }
    Err("does not end with a semicolon".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_entry_is_read_as_java_reads_it() {
        let login = parse("a.b.C required  user_x=\"p; w\\\"\" y='z'\n k=v;").unwrap();
        assert_eq!(login.module, "a.b.C");
        let pairs: Vec<(&str, &str)> =
            login.options.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(pairs, [("user_x", "p; w\""), ("y", "z"), ("k", "v")]);
        let empty = parse("a required user_x=\"\";").unwrap();
        assert_eq!(empty.options, [("user_x".to_owned(), String::new())]);
    }

    #[test]
    fn no_message_has_a_password() {
        for bad in ["", ";", "a;", "a b=secret;", "a required secret", "a required x=\"secret;"] {
            let error = parse(bad).err().unwrap();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(parse("a required; b required;").is_err());
    }
}
