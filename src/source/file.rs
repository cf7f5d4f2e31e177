//! The file source: a JSON array of AccessToken records.
