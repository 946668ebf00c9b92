//! Listings: rows under headings, or as a template wants them. What `--format` of `images`, `history`, `ps`, `search` and
//! `df` means is here; the templates themselves are in the crate `template`, columns in `text`.
//!
//! | format | what is printed |
//! |---|---|
//! | none, or `table` | the table of the command |
//! | `table TEMPLATE` | a table with a heading for each field that is named, columns between tabs |
//! | `json` | one JSON object a row |
//! | `TEMPLATE` | the template for each row |

use serde_json::{Map, Value};
use template::{Data, Template};

use crate::{report::Failure, text};

/// How rows are shown.
#[derive(Debug)]
pub(crate) struct Listing {
    template: Template,
    headings: Option<Data>,
}

impl Listing {
    /// Reads `--format`. `table` is the template of the command's own table, `headings` has that of every field.
    pub(crate) fn parse(
        given: Option<&str>,
        table: &str,
        headings: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        let given = given.filter(|given| !given.is_empty()).unwrap_or("table");
        let (is_table, template) = match given.strip_prefix("table") {
            Some(template) if template.trim_matches(' ').is_empty() => (true, table),
            Some(template) => (true, template),
            None if given == "json" => (false, "{{json .}}"),
            None => (false, given),
        };
        // A shell passes the two characters on.
        let template = template.trim_matches(' ').replace("\\t", "\t").replace("\\n", "\n");
        let heading =
            |(field, heading): &(&str, &str)| ((*field).to_owned(), Value::from(*heading));
        let headings: Map<String, Value> = headings.iter().map(heading).collect();
        let headings = is_table.then(|| Data::row(&Value::Object(headings)));
        Ok(Self { template: Template::parse(&template)?, headings })
    }

    /// Whether a field is shown, for what costs something to find out.
    pub(crate) fn mentions(&self, field: &str) -> bool {
        self.template.mentions(field) || self.template.mentions_all()
    }

    /// Returns the text of a listing.
    pub(crate) fn render(&self, rows: impl IntoIterator<Item = Data>) -> Result<String, Failure> {
        let mut lines = String::new();
        if let Some(headings) = &self.headings {
            lines.push_str(&self.template.render_head(headings)?);
            lines.push('\n');
        }
        for row in rows {
            lines.push_str(&self.template.render(&row)?);
            lines.push('\n');
        }
        Ok(if self.headings.is_some() { text::aligned(&lines) } else { lines })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HEADINGS: &[(&str, &str)] = &[("ID", "IMAGE ID"), ("Tag", "TAG"), ("Comment", "COMMENT")];

    fn render(format: Option<&str>) -> String {
        let rows = [
            json!({"Comment": "", "ID": "0123456789ab", "Tag": "latest"}),
            json!({"Comment": "x", "ID": "ab", "Tag": "<none>"}),
        ];
        let table = "{{.ID}}\t{{.Tag}}\t{{.Comment}}";
        let listing = Listing::parse(format, table, HEADINGS).unwrap();
        listing.render(rows.iter().map(Data::row)).unwrap()
    }

    #[test]
    fn a_table_is_dockers() {
        // The first column is as wide as its cells and three blanks, no column is less than ten.
        let expected = "IMAGE ID       TAG       COMMENT\n\
                        0123456789ab   latest    \n\
                        ab             <none>    x\n";
        for format in
            [None, Some(""), Some("table"), Some("table {{.ID}}\\t{{.Tag}}\\t{{.Comment}}")]
        {
            assert_eq!(render(format), expected, "{format:?}");
        }
        assert_eq!(render(Some("table {{lower .Tag}}")), "TAG\nlatest\n<none>\n");
    }

    #[test]
    fn json_and_templates_have_no_heading() {
        let expected = "{\"Comment\":\"\",\"ID\":\"0123456789ab\",\"Tag\":\"latest\"}\n\
                        {\"Comment\":\"x\",\"ID\":\"ab\",\"Tag\":\"\\u003cnone\\u003e\"}\n";
        assert_eq!(render(Some("json")), expected);
        assert_eq!(render(Some("{{json .}}")), expected);
        assert_eq!(render(Some("{{.ID}}\\t{{.Tag}}")), "0123456789ab\tlatest\nab\t<none>\n");
    }

    #[test]
    fn what_is_shown_is_known_before() {
        let parse = |format| Listing::parse(Some(format), "{{.ID}}", HEADINGS).unwrap();
        assert!(parse("{{.Tag}}").mentions("Tag") && parse("json").mentions("Tag"));
        assert!(!parse("{{.ID}}").mentions("Tag") && !parse("table").mentions("Tag"));
    }

    #[test]
    fn a_wrong_template_is_refused() {
        assert!(Listing::parse(Some("{{.ID"), "", HEADINGS).is_err());
        let listing = Listing::parse(Some("{{.Nope}}"), "", HEADINGS).unwrap();
        assert!(listing.render([Data::row(&json!({"ID": "x"}))]).is_err());
    }
}
