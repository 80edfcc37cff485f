// Package triggers turns the texts of a workflow file that are evaluated into things that can be
// asked: conditions and templates in one typed expression language, triggers that match events, an
// index over many of them, selections of contacts, and cron schedules.
//
// It must never start anything, never read a clock and never touch a store: instants, contacts and
// events are parameters, and what a trigger or a selection says is only an answer. A trigger matches
// nothing but a crm.TriggerEvent, which only the suppression rule of package crm can make.
//
// Its input is hostile until proven otherwise: every accepted expression ends in bounded time and
// memory, and nothing here panics. Nothing that it says in an error repeats a value of a contact.
//
// Everything it compiles is immutable and may be used by several goroutines at once, except an Index
// while rules are being added.
package triggers
