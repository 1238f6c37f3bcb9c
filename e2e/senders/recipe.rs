//! The configurations that the pages in `docs/senders/` show.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// The text of a page's first code block in this language.
pub(super) fn block(page: &str, language: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/senders").join(page);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let (_, rest) = text
        .split_once(&format!("```{language}\n"))
        .with_context(|| format!("{page} has no block of {language}"))?;
    let (block, _) =
        rest.split_once("\n```").with_context(|| format!("{page}: block has no end"))?;
    Ok(format!("{block}\n"))
}

/// Puts something of this run in the place of something that the page must have.
pub(super) fn replace(recipe: &mut String, from: &str, to: &str) -> Result<()> {
    ensure!(recipe.contains(from), "the recipe has no {from:?} any more");
    *recipe = recipe.replace(from, to);
    Ok(())
}
