package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"dachs/dashboard"
	"dachs/storage"
	"dachs/tracker"
)

type siteSetCmd struct {
	Domain         string   `arg:"" help:"Domain of the site."`
	AllowHost      []string `help:"Count pages of this host, and only of such hosts; *.example.com stands for all below it. Can be given again." sep:"none" placeholder:"HOST"`
	ExcludePath    []string `help:"Do not count pages that match; * stands for anything but a slash, ** for anything." sep:"none" placeholder:"PATTERN"`
	ExcludeCountry []string `help:"Do not count hits from this country." placeholder:"CC"`
	ExcludeNetwork []string `help:"Do not count hits from this address or network, such as your own." placeholder:"CIDR"`
	ExcludeAgent   []string `help:"Do not count browsers and programs whose user agent has this in it." sep:"none" placeholder:"TEXT"`
	KeepQuery      []string `help:"This parameter of an address belongs to the page." placeholder:"NAME"`
	Headless       string   `help:"Refuse hits without the headers that every browser sends (on or off). Servers that count need a token then." enum:"on,off," default:"" placeholder:"on|off"`
	DataCentres    string   `help:"Refuse hits from the networks of --data-centres (on or off)." name:"data-centres" enum:"on,off," default:"" placeholder:"on|off"`
	Fragment       string   `help:"The fragment of an address is the route of a page (on or off)." enum:"on,off," default:"" placeholder:"on|off"`
	City           string   `help:"Count cities, where the file of --geoip knows them (on or off)." enum:"on,off," default:"" placeholder:"on|off"`
	Clear          []string `help:"Empty this list before anything is added: allow-host, exclude-path, exclude-country, exclude-network, exclude-agent or keep-query." placeholder:"NAME"`
	Yes            bool     `help:"Do it even if nothing would be counted any more."`
}

// Run implements the command.
func (c *siteSetCmd) Run(ctx context.Context, a *app) error {
	change := settingsChange{
		Clear: c.Clear, Yes: c.Yes, Switch: map[string]bool{},
		Add: map[string][]string{
			"allow-host": c.AllowHost, "exclude-path": c.ExcludePath, "exclude-country": c.ExcludeCountry,
			"exclude-network": c.ExcludeNetwork, "exclude-agent": c.ExcludeAgent, "keep-query": c.KeepQuery,
		},
	}
	for name, value := range map[string]string{"headless": c.Headless, "data-centres": c.DataCentres, "fragment": c.Fragment, "city": c.City} {
		if value != "" {
			change.Switch[name] = value == "on"
		}
	}
	return a.with(ctx, local{}, func(cl *client) error {
		var site storage.Site
		if err := cl.call(ctx, http.MethodPatch, "/sites/"+url.PathEscape(c.Domain)+"/settings", change, &site); err != nil {
			return fmt.Errorf("set: %w", err)
		}
		return showSite(a, site)
	})
}

type siteShowCmd struct {
	Domain string `arg:"" help:"Domain of the site."`
}

// Run implements the command.
func (c *siteShowCmd) Run(ctx context.Context, a *app) error {
	return a.with(ctx, local{}, func(cl *client) error {
		var site storage.Site
		if err := cl.call(ctx, http.MethodGet, "/sites/"+url.PathEscape(c.Domain), nil, &site); err != nil {
			return fmt.Errorf("show: %w", err)
		}
		return showSite(a, site)
	})
}

func showSite(a *app, site storage.Site) error {
	s, keep := &site.Settings, site.Keep.OrDefault()
	list := func(values []string, none string) string {
		if len(values) == 0 {
			return none
		}
		return strings.Join(values, ", ")
	}
	onOff := map[bool]string{true: "on", false: "off"}
	return writeTable(a.stdout, [][]string{
		{"domain", site.Domain}, {"time zone", site.TimeZone}, {"created", site.Created.Format(time.DateOnly)},
		{"kept", fmt.Sprintf("hours: %d days, details: %d days, totals: %d days", keep.Hours, keep.Detail, keep.Totals)},
		{"aliases", list(s.Aliases, "none")},
		{"allowed hosts", list(s.Hosts, "all")},
		{"excluded paths", list(s.Exclude.Paths, "none")},
		{"excluded countries", list(s.Exclude.Countries, "none")},
		{"excluded networks", list(s.Exclude.Networks, "none")},
		{"excluded user agents", list(s.Exclude.Agents, "none")},
		{"refuse headless", onOff[s.Exclude.Headless]},
		{"refuse data centres", onOff[s.Exclude.DataCentres]},
		{"query kept", list(s.Query, "none")},
		{"fragment is a route", onOff[s.Fragment]},
		{"cities", onOff[s.City]},
	})
}

// settingsChange is the body of PATCH /sites/{domain}/settings. Names are those of the flags of `dachs site set`.
type settingsChange struct {
	Clear  []string            `json:"clear"` // first
	Add    map[string][]string `json:"add"`
	Switch map[string]bool     `json:"switch"`
	Yes    bool                `json:"yes"` // also if nothing would be counted any more
}

// apply changes settings, which are cleaned after it.
func (c *settingsChange) apply(s *storage.Settings) error {
	e := &s.Exclude
	lists := map[string]*[]string{
		"allow-host": &s.Hosts, "exclude-path": &e.Paths, "exclude-country": &e.Countries, "exclude-network": &e.Networks,
		"exclude-agent": &e.Agents, "keep-query": &s.Query,
	}
	switches := map[string]*bool{"headless": &e.Headless, "data-centres": &e.DataCentres, "fragment": &s.Fragment, "city": &s.City}
	for _, name := range c.Clear {
		if lists[name] == nil {
			return fmt.Errorf("clear %q: there is no such list; want allow-host, exclude-path, exclude-country, exclude-network, exclude-agent or keep-query", name)
		}
		*lists[name] = nil
	}
	for name, values := range c.Add {
		if lists[name] == nil {
			return fmt.Errorf("setting %q: unknown", name)
		}
		*lists[name] = append(*lists[name], values...)
	}
	for name, on := range c.Switch {
		if switches[name] == nil {
			return fmt.Errorf("setting %q: unknown", name)
		}
		*switches[name] = on
	}
	return tracker.CheckSettings(s, dashboard.KnownCountry)
}

func (a *admin) showSite(w http.ResponseWriter, r *http.Request) {
	if site, ok := a.site(w, r.PathValue("domain")); ok {
		answer(w, http.StatusOK, site)
	}
}

func (a *admin) changeSettings(w http.ResponseWriter, r *http.Request) {
	var in settingsChange
	if !decode(w, r, &in) {
		return
	}
	site, ok := a.site(w, r.PathValue("domain"))
	if !ok {
		return
	}
	var wrong error
	site, err := a.store.ChangeSettings(site.Domain, func(s *storage.Settings) error {
		if wrong = in.apply(s); wrong == nil && !in.Yes {
			if why := tracker.LeavesOutAll(site.Domain, s); why != "" {
				wrong = fmt.Errorf("%s; add --yes if that is what you want", why)
			}
		}
		return wrong
	})
	switch {
	case wrong != nil:
		refuse(w, http.StatusBadRequest, wrong)
	case err != nil:
		refuseStore(w, err)
	default:
		answer(w, http.StatusOK, site)
	}
}

// maxRefusalDays bounds what `dachs site refusals` asks for: longer than totals are kept by default.
const maxRefusalDays = 1000

type siteRefusalsCmd struct {
	Domain string `arg:"" help:"Domain of the site."`
	Days   int    `help:"How many days, today included." default:"7" placeholder:"DAYS"`
}

// Run implements the command.
func (c *siteRefusalsCmd) Run(ctx context.Context, a *app) error {
	if c.Days < 1 || c.Days > maxRefusalDays {
		return usagef("--days %d: want 1 to %d", c.Days, maxRefusalDays)
	}
	return a.with(ctx, local{}, func(cl *client) error {
		var lines []refusalLine
		path := fmt.Sprintf("/sites/%s/refusals?days=%d", url.PathEscape(c.Domain), c.Days)
		if err := cl.call(ctx, http.MethodGet, path, nil, &lines); err != nil {
			return fmt.Errorf("refusals: %w", err)
		}
		if len(lines) == 0 {
			_, err := fmt.Fprintln(a.stdout, "no hit was refused in these days")
			return err
		}
		rows := [][]string{{"DAY", "REASON", "HITS", "WHAT"}}
		for _, l := range lines {
			rows = append(rows, []string{l.Day.String(), l.Reason, grouped(l.Hits), dashboard.RefusalText(l.Reason)})
		}
		return writeTable(a.stdout, rows)
	})
}

// refusalLine is one line of the answer of GET /sites/{domain}/refusals.
type refusalLine struct {
	Day    storage.Day `json:"day"`
	Reason string      `json:"reason"`
	Hits   int64       `json:"hits"`
}

func (a *admin) refusals(w http.ResponseWriter, r *http.Request) {
	site, ok := a.site(w, r.PathValue("domain"))
	if !ok {
		return
	}
	days := 0
	if _, err := fmt.Sscan(r.URL.Query().Get("days"), &days); err != nil || days < 1 || days > maxRefusalDays {
		refuse(w, http.StatusBadRequest, fmt.Errorf("days: want a number from 1 to %d", maxRefusalDays))
		return
	}
	today := storage.DayOf(a.now().In(site.Location()))
	found, err := a.store.Refusals(r.Context(), site.ID, today-storage.Day(days)+1, today)
	if err != nil {
		refuseStore(w, err)
		return
	}
	lines := []refusalLine{}
	for day, reasons := range found {
		for reason, n := range reasons {
			lines = append(lines, refusalLine{day, reason, n})
		}
	}
	slices.SortFunc(lines, func(a, b refusalLine) int {
		return cmp.Or(cmp.Compare(b.Day, a.Day), cmp.Compare(b.Hits, a.Hits), cmp.Compare(a.Reason, b.Reason))
	})
	answer(w, http.StatusOK, lines)
}
