package dashboard

import (
	"fmt"
	"math/rand/v2"

	"dachs/storage"
)

// seedVisit is one visit as the tests make it up. A visitor has a single visit a day here.
type seedVisit struct {
	day     storage.Day
	hour    int
	paths   []string
	seconds int64
	dims    map[storage.Column]string // attributes and origin
}

// rows books the visit as the tracker does: each page view in Hits, the whole in Visits.
func (v seedVisit) rows(site uint32) []storage.Row {
	base := storage.Row{Site: site, Day: v.day}
	for c, value := range v.dims {
		base.Dims[c] = value
	}
	base.Dims[storage.Hour] = fmt.Sprintf("%02d", v.hour)
	base.Dims[storage.Entry] = v.paths[0]
	var rows []storage.Row
	seen := map[string]bool{}
	previous := ""
	for _, p := range v.paths {
		r := base
		r.Table = storage.Hits
		r.Dims[storage.Kind], r.Dims[storage.Name] = storage.KindPageView, storage.PageViewName
		r.Dims[storage.Path], r.Dims[storage.Previous] = p, previous
		r.Sums[storage.Count] = 1
		if !seen[p] {
			r.Sums[storage.HitVisits], r.Sums[storage.HitVisitors], r.Sums[storage.HourVisitors] = 1, 1, 1
		}
		seen[p], previous = true, p
		rows = append(rows, r)
	}
	whole := base
	whole.Table = storage.Visits
	whole.Dims[storage.Exit] = previous
	whole.Sums[storage.VisitCount], whole.Sums[storage.VisitVisitors], whole.Sums[storage.VisitHourVisitors] = 1, 1, 1
	whole.Sums[storage.VisitPageViews], whole.Sums[storage.Seconds] = int64(len(v.paths)), v.seconds
	if len(v.paths) == 1 {
		whole.Sums[storage.Bounces] = 1
	}
	return append(rows, whole)
}

// seedShop makes up visits to a small shop on days from first to last, the same for the same arguments.
func seedShop(first, last storage.Day, perDay int) []seedVisit {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { // the first are the likeliest
		return list[min(int(random.ExpFloat64()*float64(len(list))/4), len(list)-1)]
	}
	pages := []string{
		"/", "/products/walking-boots", "/products", "/basket", "/guides/how-to-wax-leather", "/products/wool-socks", "/checkout",
		"/products/rain-jacket", "/guides/packing-for-a-week-in-the-alps-with-nothing-but-hand-luggage", "/about", "/contact",
		"/products/rucksack-40l", "/imprint", "/privacy", "/products/head-torch", "/guides",
	}
	origins := [][2]string{
		{"Organic Search", "Google"}, {"Direct", ""}, {"Organic Social", "Instagram"}, {"Organic Search", "DuckDuckGo"},
		{"Email", "newsletter"}, {"Referral", "alpenforum.example"}, {"Organic Search", "Bing"}, {"AI Assistants", "ChatGPT"},
		{"Organic Social", "Mastodon"}, {"Referral", "wanderblog.example"}, {"Organic Search", "Ecosia"},
		{"Organic Video", "YouTube"}, {"Referral", "packlisten.example"},
	}
	var visits []seedVisit
	for d := first; d <= last; d++ {
		n := perDay + int(d-first)/2 + random.IntN(perDay/3+1)
		if wd := d.Date().Weekday(); wd == 0 || wd == 6 {
			n = n * 7 / 10
		}
		for range n {
			o := origins[min(int(random.ExpFloat64()*2.5), len(origins)-1)]
			v := seedVisit{day: d, hour: min(int(max(random.NormFloat64()*4.5+14.5, 0)), 23), seconds: int64(random.ExpFloat64() * 95)}
			for ok := true; ok; ok = random.Float64() < .55 && len(v.paths) < 12 {
				v.paths = append(v.paths, pick(pages...))
			}
			if len(v.paths) == 1 {
				v.seconds = 0
			}
			v.dims = map[storage.Column]string{
				storage.Hostname: "shop.example", storage.Channel: o[0], storage.Source: o[1],
				storage.Country: pick("DE", "AT", "CH", "US", "NL", "FR", "GB", "IT", "PL", "ES", "", "JP"),
				storage.Browser: pick("Chrome", "Safari", "Firefox", "Edge", "Samsung Internet", "Opera", ""),
				storage.OS:      pick("Android", "Windows", "iOS", "macOS", "Linux"),
				storage.Device:  pick("Mobile", "Desktop", "Tablet"),
			}
			if o[1] == "newsletter" {
				v.dims[storage.UTMCampaign] = pick("spring-sale", "welcome", "back-in-stock")
			}
			visits = append(visits, v)
		}
	}
	return visits
}
