//! The board of phases as a page of its own: no script, nothing from elsewhere, so it can be mailed.

use super::graph::escaped;

/// One phase on the page.
pub struct BoardRow {
    pub name: String,
    /// `done`, `open`, `waits`.
    pub state: &'static str,
    pub head: String,
    pub lines: Vec<String>,
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}\
section{border-left:.4em solid #999;padding:.2em 1em;margin:1em 0}\
.done{border-color:#2a7d3f}.open{border-color:#1f5fa8}.waits{border-color:#b36b00}\
h2{font-size:1.1em;margin:0}h2 span{font-weight:normal;color:#555}ul{margin:.3em 0;padding-left:1.2em}.wrong{color:#a00000}";

pub fn board_html(organization: &str, rows: &[BoardRow], warnings: &[String]) -> String {
    let title = escaped(organization);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Phases of {title}</title><style>{STYLE}</style></head>\n\
         <body><h1>Phases of {title}</h1>\n"
    );
    for warning in warnings {
        page.push_str(&format!("<p class=\"wrong\">{}</p>\n", escaped(warning)));
    }
    for row in rows {
        page.push_str(&format!(
            "<section class=\"{}\"><h2>{} <span>{}: {}</span></h2><ul>\n",
            row.state,
            escaped(&row.name),
            row.state,
            escaped(&row.head)
        ));
        row.lines.iter().for_each(|l| page.push_str(&format!("<li>{}</li>\n", escaped(l.trim_start()))));
        page.push_str("</ul></section>\n");
    }
    page.push_str("</body></html>\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_is_text_on_the_page() {
        let row = BoardRow { name: "a<b".into(), state: "open", head: "\"x\"".into(), lines: vec!["<script>".into()] };
        let page = board_html("acme", &[row], &["<i>".into()]);
        assert!(!page.contains("<script>") && !page.contains("a<b") && !page.contains("<i>"), "{page}");
        assert!(page.contains("a&lt;b"), "{page}");
    }
}
