//! Account score, engagement and surge from states and fields
