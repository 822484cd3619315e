package main

import (
	"math/rand/v2"
	"strings"
	"time"
)

// choice is a list to draw from by weight.
type choice[T any] []weighted[T]

type weighted[T any] struct {
	weight float64
	value  T
}

func (c choice[T]) draw(r *rand.Rand) T {
	var sum float64
	for _, w := range c {
		sum += w.weight
	}
	at := r.Float64() * sum
	for _, w := range c {
		if at -= w.weight; at < 0 {
			return w.value
		}
	}
	return c[len(c)-1].value
}

// device is a browser on a machine.
type device struct {
	agent  string
	mobile bool
}

// origin is a way into the shop.
type origin struct {
	referrer string
	query    string // of the landing page; LETTER stands for the number of the week
	mobile   float64
	lands    choice[step]
}

// step is a kind of page on the way through the shop.
type step uint8

const (
	leave step = iota
	atHome
	atShelf
	atItem
	atCart
	atCheckout
	atThanks
	atJournal
	atArticle
)

// people are the distributions that the made-up visitors are drawn from.
type people struct {
	desktops, phones   choice[device]
	countries          choice[string] // with the language: "DE de"
	origins            choice[origin]
	letter, ads, press origin
	next               map[step]choice[step]
	hours              choice[int]
	weekdays           [7]float64 // from Sunday
}

const (
	macSafari     = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15"
	winChrome     = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/# Safari/537.36"
	macChrome     = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/# Safari/537.36"
	linuxChrome   = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/# Safari/537.36"
	androidChrome = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/# Mobile Safari/537.36"
	samsung       = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/29.0 Chrome/136.0.0.0 Mobile Safari/537.36"
	iPhone        = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1"
	iPad          = "Mozilla/5.0 (iPad; CPU OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1"
	winFirefox    = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0"
	linuxFirefox  = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
)

func chrome(agent, major string) string { return strings.Replace(agent, "#", major+".0.0.0", 1) }

func demoPeople() people {
	desktop := func(weight float64, agent string) weighted[device] {
		return weighted[device]{weight, device{agent, false}}
	}
	phone := func(weight float64, agent string) weighted[device] {
		return weighted[device]{weight, device{agent, true}}
	}
	return people{
		desktops: choice[device]{
			desktop(31, chrome(winChrome, "155")), desktop(9, chrome(winChrome, "154")), desktop(14, macSafari),
			desktop(9, chrome(macChrome, "155")), desktop(12, winFirefox), desktop(5, linuxFirefox), desktop(3, chrome(linuxChrome, "155")),
			desktop(13, chrome(winChrome, "155")+" Edg/155.0.0.0"), desktop(2, chrome(winChrome, "154")+" OPR/140.0.0.0"),
		},
		phones: choice[device]{
			phone(44, iPhone), phone(29, chrome(androidChrome, "155")), phone(8, chrome(androidChrome, "154")), phone(9, samsung), phone(6, iPad),
		},
		countries: choice[string]{
			{52, "DE de"}, {11, "AT de"}, {9, "CH de"}, {6, "NL nl"}, {5, "FR fr"}, {5, "GB en"}, {3, "US en"}, {3, "PL pl"},
			{2, "IT it"}, {1.5, "BE nl"}, {1.5, "DK da"}, {1, "SE sv"}, {.6, "CZ cs"}, {.4, "CA en"},
		},
		origins:  demoOrigins(),
		letter:   origin{"", "utm_source=newsletter&utm_medium=email&utm_campaign=letter-LETTER", .58, choice[step]{{5, atItem}, {3, atShelf}, {2, atArticle}}},
		ads:      origin{"https://www.google.com/", "utm_source=google&utm_medium=cpc&utm_campaign=copper-tools&gclid=demo", .5, choice[step]{{7, atItem}, {3, atShelf}}},
		press:    origin{"https://weekend-paper.example/living/small-makers", "", .5, choice[step]{{6, atHome}, {3, atItem}, {1, atShelf}}},
		next:     demoPaths(),
		hours:    demoHours(),
		weekdays: [7]float64{1.16, 1.02, .98, .96, .97, .88, 1.03},
	}
}

func demoOrigins() choice[origin] {
	found := choice[step]{{4, atItem}, {3, atArticle}, {2, atHome}, {2, atShelf}}
	social := choice[step]{{6, atItem}, {3, atHome}, {1, atShelf}, {1, atArticle}}
	return choice[origin]{
		{29, origin{"", "", .42, choice[step]{{7, atHome}, {1, atShelf}, {2, atItem}}}},
		{27, origin{"https://www.google.com/", "", .55, found}},
		{4, origin{"https://duckduckgo.com/", "", .35, found}},
		{3, origin{"https://www.bing.com/", "", .15, found}},
		{2.5, origin{"https://www.ecosia.org/", "", .4, found}},
		{2, origin{"https://chatgpt.com/", "", .4, choice[step]{{6, atItem}, {4, atArticle}}}},
		{8, origin{"https://www.instagram.com/", "", .93, social}},
		{4, origin{"https://www.instagram.com/", "utm_source=instagram&utm_medium=social&utm_campaign=meadow-reel", .95, social}},
		{6, origin{"https://www.pinterest.com/", "", .8, social}},
		{3, origin{"https://www.facebook.com/", "", .75, social}},
		{2, origin{"https://www.reddit.com/", "", .5, choice[step]{{5, atArticle}, {5, atItem}}}},
		{2, origin{"https://www.youtube.com/", "", .6, social}},
		{4, origin{"https://balcony-harvest.example/favourites", "", .5, choice[step]{{6, atItem}, {2, atHome}}}},
		{2, origin{"https://slow-garden.example/links", "", .4, choice[step]{{5, atHome}, {3, atArticle}}}},
	}
}

// demoPaths says where people go next. Each step towards the till loses some.
func demoPaths() map[step]choice[step] {
	return map[step]choice[step]{
		atHome:     {{40, leave}, {35, atShelf}, {15, atItem}, {10, atJournal}},
		atShelf:    {{24, leave}, {56, atItem}, {13, atShelf}, {7, atHome}},
		atItem:     {{48, leave}, {10, atCart}, {22, atShelf}, {20, atItem}},
		atCart:     {{31, leave}, {52, atCheckout}, {11, atShelf}, {6, atItem}},
		atCheckout: {{27, leave}, {67, atThanks}, {6, atCart}},
		atThanks:   {{86, leave}, {8, atHome}, {6, atJournal}},
		atJournal:  {{25, leave}, {65, atArticle}, {10, atHome}},
		atArticle:  {{63, leave}, {13, atItem}, {12, atJournal}, {12, atHome}},
	}
}

// demoHours is a day: little at night, a rise at lunch, most in the evening.
func demoHours() choice[int] {
	weights := [24]float64{9, 5, 3, 2, 2, 4, 11, 22, 34, 43, 48, 51, 55, 52, 47, 46, 49, 56, 64, 73, 79, 68, 43, 21}
	var hours choice[int]
	for h, w := range weights {
		hours = append(hours, weighted[int]{w, h})
	}
	return hours
}

// visitsOn returns how many visits a day has, before the special ones: slow growth, a calm and a lively half of
// the month, and the week's rhythm.
func (p *people) visitsOn(day time.Time, index int, r *rand.Rand) int {
	growth := 165 + 1.3*float64(index)
	if day.Day() > 24 {
		growth *= 1.08 // after payday
	}
	noise := 1 + .07*r.NormFloat64()
	return int(growth * p.weekdays[day.Weekday()] * max(noise, .7))
}

// special returns the visits of a day that come through something that the shop did or that happened to it.
func (p *people) special(day time.Time, index int) (o origin, visits float64) {
	switch {
	case index >= 47 && index <= 51: // a newspaper writes about the shop
		return p.press, 230 / float64(1+3*(index-47))
	case day.Weekday() == time.Thursday:
		return p.letter, 70 + .5*float64(index)
	case day.Weekday() == time.Friday:
		return p.letter, 25 + .2*float64(index)
	case index >= 62 && index < 83:
		return p.ads, 38
	}
	return origin{}, 0
}
