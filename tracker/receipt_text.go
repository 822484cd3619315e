package tracker

import "strings"

// receiptText says in a sentence or two what became of a hit. %s is the site.
func receiptText(reason Reason, newcomer bool, site string, german bool) string {
	if reason == Accepted {
		texts := [2][2]string{{
			"Counted for %s. This was the first hit of this address and browser there today, so you are counted as a visitor.",
			"Gezählt für %s. Dies war dort heute der erste Aufruf von dieser Adresse und mit diesem Browser; Sie sind also als Besucher gezählt.",
		}, {
			"Counted for %s. This address and browser were there before today, so you are not counted as a visitor again. What else has changed " +
				"depends on the hits before, which may be those of somebody who shares your address; it is not told.",
			"Gezählt für %s. Diese Adresse und dieser Browser waren heute schon dort; Sie sind also nicht noch einmal als Besucher gezählt. Was sich " +
				"sonst geändert hat, hängt von den Aufrufen davor ab, die von jemandem mit derselben Adresse sein können; es wird nicht gesagt.",
		}}
		text := texts[1]
		if newcomer {
			text = texts[0]
		}
		return strings.Replace(inLanguage(text, german), "%s", site, 1)
	}
	text, ok := refusalTexts[reason.String()]
	if !ok {
		text = [2]string{"it was refused (" + reason.String() + ").", "der Aufruf wurde abgelehnt (" + reason.String() + ")."}
	}
	return inLanguage([2]string{"Nothing was counted: ", "Es wurde nichts gezählt: "}, german) + inLanguage(text, german)
}

func inLanguage(text [2]string, german bool) string {
	if german {
		return text[1]
	}
	return text[0]
}

// refusalTexts are the reasons in words, English and German, by Reason.String. That of an unknown site says no more than that
// of one that does not want to be known.
var refusalTexts = map[string][2]string{
	"gpc":          {"your browser sends Global Privacy Control (Sec-GPC: 1).", "Ihr Browser sendet Global Privacy Control (Sec-GPC: 1)."},
	"dnt":          {"your browser sends Do Not Track (DNT: 1).", "Ihr Browser sendet Do Not Track (DNT: 1)."},
	"opted_out":    {"you do not want to be counted.", "Sie möchten nicht gezählt werden."},
	"unknown_site": {"this server does not count for this site, or does not say.", "dieser Server zählt nicht für diese Website oder sagt es nicht."},
	"bot":          {"the user agent is that of a program.", "der User-Agent ist der eines Programms."},
	"prefetch":     {"the page was fetched ahead of time and seen by nobody.", "die Seite wurde im Voraus geladen und von niemandem gesehen."},
	"spam":         {"the referrer is on the list of spammers.", "der Referrer steht auf der Liste der Spammer."},
	"data_centre":  {"the request came from a data centre.", "die Anfrage kam aus einem Rechenzentrum."},
	"headless":     {"headers are missing that every browser sends.", "es fehlen Header, die jeder Browser sendet."},
	"network":      {"the site leaves out this network.", "die Website lässt dieses Netz aus."},
	"agent":        {"the site leaves out this user agent.", "die Website lässt diesen User-Agent aus."},
	"host":         {"the site does not allow this host.", "die Website erlaubt diesen Host nicht."},
	"path":         {"the site leaves out this page.", "die Website lässt diese Seite aus."},
	"country":      {"the site leaves out this country.", "die Website lässt dieses Land aus."},
	"rate_limited": {"there were too many hits from this address within seconds.", "es kamen zu viele Aufrufe von dieser Adresse innerhalb von Sekunden."},
	"malformed":    {"the event cannot be read.", "das Ereignis ist nicht lesbar."},
	"no_hit":       {"the request is none that counts, such as one that only names a visitor.", "die Anfrage zählt nicht, etwa weil sie nur einen Besucher benennt."},
	"no_visit":     {"there is no open visit to add to.", "es gibt keinen offenen Besuch, zu dem es gehört."},
	"overloaded":   {"the server cannot count at the moment.", "der Server kann gerade nicht zählen."},
	"asset":        {"the address is not that of a page.", "die Adresse ist nicht die einer Seite."},
	"method":       {"the request was no GET.", "die Anfrage war kein GET."},
	"status":       {"the request was not answered with a page.", "die Anfrage wurde nicht mit einer Seite beantwortet."},
	"out_of_order": {"the day was closed already.", "der Tag war schon abgeschlossen."},
}
