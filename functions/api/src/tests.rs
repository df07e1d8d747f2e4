mod accounts;
mod changes;
mod description;
mod given;
mod guard;
mod leads;
mod notify;
mod timeline;
