package main

var (
	syllables = []string{"ba", "bel", "cor", "da", "del", "dri", "el", "fa", "fen", "gar", "hal", "ib", "ja", "kel", "ko", "la",
		"lir", "mar", "mi", "nor", "o", "pel", "qui", "ra", "ro", "sa", "sel", "ta", "tir", "u", "va", "vel", "wyn", "xan", "yo", "zel"}
	endings   = []string{"", "by", "dale", "ek", "ford", "ith", "mond", "ner", "sson", "wick"}
	trades    = []string{"Bakery", "Bikes", "Clinic", "Electric", "Foods", "Gardens", "Logistics", "Print", "Roofing", "Studio"}
	sources   = []string{"web form", "referral", "fair", "import", "phone", "ad"}
	tags      = []string{"customer", "lead", "vip", "newsletter", "partner"}
	lists     = []string{"Newsletter", "Product news", "Events"}
	statuses  = []string{"subscribed", "subscribed", "subscribed", "unconfirmed", "unsubscribed", "bounced"}
	campaigns = []string{"Spring offer", "Onboarding"}

	notes = []string{"Asked for the new price list.", "Prefers to be called in the morning.", "Met at the fair; wants a demonstration.",
		"Wants the invoice split over two months.", "Said that the delivery was late.", "Is happy with the service.",
		"Has a competing offer until the end of the month.", "Moved to a larger office; address follows.", "Wants to know how exports work."}
	messages = []string{"Thank you, that answers my question.", "Could you send it again? The attachment is missing.", "When does the offer end?",
		"Please change the date of our appointment.", "We will decide next week.", "Who is my contact for billing?"}
	tasks        = []string{"Call back", "Send the contract", "Check the invoice", "Ask for a reference", "Update the address"}
	appointments = []string{"First meeting", "Demonstration", "Quarterly review", "Training"}
	manual       = []string{"Call before the offer ends", "Write a letter by hand", "Send a sample"}
	deals        = []string{"Renewal", "Upgrade to team", "New office", "Pilot", "Yearly contract", "Training days"}
)
