package dashboard

import (
	"cmp"
	"context"
	"slices"

	"dachs/storage"
)

// refusalTexts say in words why hits were not counted, by the names under which the store has them.
var refusalTexts = map[string]string{
	"gpc":          "Visitors who send Global Privacy Control",
	"dnt":          "Visitors who send Do Not Track",
	"opted_out":    "Visitors who opted out",
	"bot":          "Bots and other programs",
	"prefetch":     "Pages fetched ahead of time, seen by nobody",
	"spam":         "Referrer spam",
	"data_centre":  "Data centres",
	"headless":     "Without the headers of a browser",
	"network":      "Networks that you excluded",
	"agent":        "User agents that you excluded",
	"host":         "Hosts that are not allowed",
	"path":         "Pages that you excluded",
	"country":      "Countries that you excluded",
	"rate_limited": "Too many from one address at once",
	"malformed":    "Events that could not be read",
	"no_visit":     "Reading times of pages that were not counted",
	"no_hit":       "Messages that are no hits: who somebody is, how fast a page was",
	"overloaded":   "While the server could not store hits",
}

// replacedTexts say in words what was replaced in what visitors' browsers sent.
var replacedTexts = map[string]string{
	"email": "E-mail addresses",
	"phone": "Telephone numbers",
	"card":  "Card numbers",
	"iban":  "Bank accounts",
	"uuid":  "UUIDs",
	"token": "Tokens and keys",
	"id":    "Long numbers of somebody or something",
}

// RefusalText says in words why hits were not counted. What it does not know it returns as it is.
func RefusalText(reason string) string { return cmp.Or(refusalTexts[reason], reason) }

// refusalRow is one line of what was not counted.
type refusalRow struct {
	Label string
	Hits  number
	Width string // of the bar in percent of the longest
}

// notes are what was not counted, or replaced, in a period, most first.
func (s *Server) notes(ctx context.Context, site storage.Site, p Period, kind string, texts map[string]string) ([]refusalRow, error) {
	found, err := s.store.Notes(ctx, site.ID, kind, p.From, p.To)
	if err != nil {
		return nil, tolerate(err) // of days so old that their reasons are not kept there is nothing to show
	}
	sums := make(map[string]int64)
	for _, day := range found {
		for reason, n := range day {
			sums[reason] += n
		}
	}
	var rows []refusalRow
	longest := int64(0)
	for _, n := range sums {
		longest = max(longest, n)
	}
	reasons := make([]string, 0, len(sums))
	for reason := range sums {
		reasons = append(reasons, reason)
	}
	slices.SortFunc(reasons, func(a, b string) int { return cmp.Or(cmp.Compare(sums[b], sums[a]), cmp.Compare(a, b)) })
	for _, reason := range reasons {
		n := float64(sums[reason])
		rows = append(rows, refusalRow{cmp.Or(texts[reason], reason), count(storage.Value{Number: n, Low: n}), barWidth(n, float64(longest))})
	}
	return rows, nil
}
