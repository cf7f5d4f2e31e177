## Why a code is not let in, and what to do next

denied-malformed = Vul de toegangscode in die u hebt gekregen.
denied-throttled = Te veel verkeerde codes. Wacht een paar minuten en probeer het opnieuw.
denied-source-unavailable = Deze code kan nu niet worden gecontroleerd. Probeer het over een minuut opnieuw.
denied-unknown-code = Deze code is niet bekend. Controleer de code en probeer het opnieuw.
denied-unknown-device = Dit apparaat is hier niet bekend. Vul uw toegangscode in.
denied-wrong-location = Deze code is niet geldig op deze locatie. Vraag het aan de balie.
denied-ambiguous-code = Deze code is twee keer uitgegeven. Vraag aan de balie om een andere.
denied-wrong-password = Het wachtwoord past niet bij deze code. Vul alleen de code in.
denied-not-yet-valid = Deze code is geldig vanaf { $from }. Probeer het dan opnieuw.
denied-not-yet-valid-undated = Deze code is nog niet geldig. Probeer het later opnieuw.
denied-expired = Deze code is verlopen op { $to }. Vraag aan de balie om een nieuwe.
denied-expired-undated = Deze code is verlopen. Vraag aan de balie om een nieuwe.
denied-device-mismatch = Deze code hoort bij een ander apparaat. Gebruik dat apparaat of vraag aan de balie om een eigen code.
denied-no-minutes-left = Er is geen tijd meer over op deze code. Vraag aan de balie om meer.
denied-user-limit-reached =
    { $limit ->
        [one] Deze code is in gebruik op een ander apparaat. Log daar eerst uit.
       *[other] Deze code is in gebruik op { $limit } apparaten, het maximum. Log eerst op een daarvan uit.
    }

## The login page

login-code = Toegangscode
login-go = Ga online
login-hint = Vul de code in zoals u die hebt gekregen. Geen code? Vraag het aan de balie.
login-terms = Gebruiksvoorwaarden
hand-over-ready = Uw code is geldig. Nog één tik en u bent online.
language = Taal
login-title = Online gaan

## The status page

status-online = U bent online
status-offline = U bent niet online
status-time-left = Resterende tijd
status-unlimited = Onbeperkt
status-valid-until = Geldig tot
status-devices = Apparaten in gebruik
status-devices-of = { $devices } van { $limit }
status-warning = Uw tijd eindigt over { $time }. Sla uw werk op tijd op.
status-log-out = Uitloggen
status-continue = Verder naar { $host }

## The logout page

logout-done = U bent uitgelogd
logout-kept = De resterende tijd op uw code blijft bewaard voor de volgende keer.
logout-pending = Aan de wifi is gevraagd u uit te loggen. Dit kan een minuut duren.
logout-impossible = Dit apparaat kan hier niet worden uitgelogd. Het blijft online tot het de wifi verlaat.
logout-again = Weer online gaan

## The error page

error-title = Dit is niet gelukt
error-not-from-router = Deze pagina moet via het inlogscherm van de wifi worden geopend. Maak opnieuw verbinding met de wifi.
error-unknown-router = Deze pagina kent de router van deze wifi niet. Meld het aan de balie.
error-go-to-router = De inlogpagina van de wifi openen

## What the router says went wrong

router-timeout = De wifi heeft niet op tijd geantwoord. Probeer het opnieuw.
router-chap-missing = Het inloggen is niet bij de wifi aangekomen. Probeer het opnieuw.
router-refused = De wifi heeft het inloggen niet geaccepteerd. Probeer het opnieuw.

## Devices in use, and taking over a place

devices-title = Apparaten in gebruik
devices-hint = Kies een apparaat dat offline gaat om hier online te gaan.
devices-ending = Apparaat eindigend op { $end }
devices-use-here = In plaats daarvan hier gebruiken
devices-since = sinds { $time }
devices-since-date = sinds { $date }

## Durations

duration-hours =
    { $hours ->
        [one] { $hours } uur
       *[other] { $hours } uur
    }
duration-minutes =
    { $minutes ->
        [one] { $minutes } minuut
       *[other] { $minutes } minuten
    }
duration-hours-minutes = { duration-hours } en { duration-minutes }
duration-moments = minder dan 1 minuut

## Dates

time = { $clock } uur
date = { $day } { month } om { time }
date-with-year = { $day } { month } { $year } om { time }
month =
    { $month ->
        [1] januari
        [2] februari
        [3] maart
        [4] april
        [5] mei
        [6] juni
        [7] juli
        [8] augustus
        [9] september
        [10] oktober
        [11] november
       *[12] december
    }

## The router's own pages

page-continue = Doorgaan
page-javascript = Zet JavaScript in deze browser aan om hier online te gaan.
router-fault = De wifi heeft een storing. Meld het aan de balie.
router-no-address = De wifi heeft geen adres meer vrij voor dit apparaat. Probeer het over een paar minuten opnieuw.
router-restarting = De wifi wordt opnieuw gestart. Probeer het over een paar minuten opnieuw.
router-devices = Deze code wordt al op zoveel apparaten gebruikt als is toegestaan. Log eerst op een ervan uit.
router-full = De wifi laat op dit moment geen apparaten meer toe. Probeer het over een paar minuten opnieuw.
router-in-progress = Het inloggen wordt nog gecontroleerd. Wacht even en probeer het dan opnieuw.
