package tracker

import (
	"net/netip"

	"dachs/storage"
	"dachs/tracker/visit"
)

// Payload is one event as a page or a server sent it, decoded and within limits but not yet judged.
type Payload struct {
	Name        string // "pageview", "engagement", else a custom event's name
	URL         string // full address of the page
	Domain      string // the site as the tag names it; several, separated by commas, count into each
	Referrer    string
	Props       []Prop
	Revenue     Money  // Currency empty: none
	Interactive bool   // false: the event does not end a bounce; true by default
	HashMode    bool   // the fragment is part of the path
	Engaged     int64  // milliseconds since the last engagement; only for "engagement"
	Scroll      int    // deepest scroll position in percent, -1 if not sent; only for "engagement"
	Width       int    // of the viewport, or of the screen where a script says no more, in CSS pixels; 0 if not sent
	Language    string // language tag as the page knows it, such as "de-AT"; empty: what the request's header says counts
	OptedOut    bool   // the page says that its visitor does not want to be counted
}

// Prop is a property of a custom event.
type Prop struct{ Key, Value string }

// Money is an amount in minor units (cents) of an ISO 4217 currency.
type Money struct {
	Amount   int64
	Currency string
}

// Client is what a request says of the browser behind it. Nothing in it outlives the request.
type Client struct {
	Addr      netip.Addr
	UserAgent string
	Language  string // Accept-Language
	Purpose   string // Sec-Purpose, Purpose or X-Moz: says "prefetch" or "prerender" for pages nobody has seen
	Bare      bool   // without a header that every browser sends
	Trusted   bool   // sent with a token: by a server that counts on behalf of its pages, and has neither headers nor limits
	Hints     Hints
}

// Hit is an accepted event in the terms of the cube: nothing of the address, the user agent, the query
// string or the full URL is left in it.
type Hit struct {
	Kind        visit.Kind
	Name        string // storage.PageViewName for page views
	Path        string
	Hostname    string
	Props       string // canonical encoding, empty if none
	Revenue     Money
	Interactive bool
	Engaged     int64 // milliseconds as the page says; not more is counted than has passed
	Scroll      int   // percent, -1 if unknown
	Origin      Origin
	Attributes  Attributes
	Replaced    Replaced // how many texts in the fields above stand for what pointed to a person
}

// Origin says where a visit came from. The zero value is not valid: Channel is always set.
type Origin struct {
	Source, Channel, Referrer                              string
	UTMSource, UTMMedium, UTMCampaign, UTMTerm, UTMContent string
}

// Attributes are what is known of a visitor; those of the first hit of the day count for the whole day.
type Attributes struct {
	Country, Region, City    string
	Browser, BrowserVersion  string
	OS, OSVersion            string
	Device, Screen, Language string
}

func (o *Origin) put(d *dims) {
	d[storage.Source], d[storage.Channel], d[storage.Referrer] = o.Source, o.Channel, o.Referrer
	d[storage.UTMSource], d[storage.UTMMedium], d[storage.UTMCampaign] = o.UTMSource, o.UTMMedium, o.UTMCampaign
	d[storage.UTMTerm], d[storage.UTMContent] = o.UTMTerm, o.UTMContent
}

func (a *Attributes) put(d *dims) {
	d[storage.Country], d[storage.Region], d[storage.City] = a.Country, a.Region, a.City
	d[storage.Browser], d[storage.BrowserVersion] = a.Browser, a.BrowserVersion
	d[storage.OS], d[storage.OSVersion] = a.OS, a.OSVersion
	d[storage.Device], d[storage.Screen], d[storage.Language] = a.Device, a.Screen, a.Language
}

// TextSize returns the bytes of text in o.
func (o Origin) TextSize() int {
	return len(o.Source) + len(o.Channel) + len(o.Referrer) +
		len(o.UTMSource) + len(o.UTMMedium) + len(o.UTMCampaign) + len(o.UTMTerm) + len(o.UTMContent)
}

// TextSize returns the bytes of text in a.
func (a Attributes) TextSize() int {
	return len(a.Country) + len(a.Region) + len(a.City) + len(a.Browser) + len(a.BrowserVersion) +
		len(a.OS) + len(a.OSVersion) + len(a.Device) + len(a.Screen) + len(a.Language)
}

// dims is the tuple of a storage.Row.
type dims = [len(storage.Row{}.Dims)]string
