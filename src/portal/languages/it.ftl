# Dates follow "giorno": "dal 23" would be "dall’8".

## Why a code is not let in, and what to do next

denied-malformed = Inserire il codice di accesso ricevuto.
denied-throttled = Troppi codici errati. Attendere qualche minuto e riprovare.
denied-source-unavailable = Al momento non è possibile verificare questo codice. Riprovare tra un minuto.
denied-unknown-code = Questo codice non esiste. Controllarlo e riprovare.
denied-unknown-device = Questo dispositivo non è conosciuto qui. Inserire il codice di accesso.
denied-wrong-location = Questo codice non è valido in questa sede. Chiedere alla reception.
denied-ambiguous-code = Questo codice è stato assegnato due volte. Chiederne un altro alla reception.
denied-wrong-password = La password non corrisponde a questo codice. Inserire solo il codice.
denied-not-yet-valid = Questo codice è valido dal giorno { $from }. Riprovare da quel momento.
denied-not-yet-valid-undated = Questo codice non è ancora valido. Riprovare più tardi.
denied-expired = Questo codice è scaduto il giorno { $to }. Chiederne uno nuovo alla reception.
denied-expired-undated = Questo codice è scaduto. Chiederne uno nuovo alla reception.
denied-device-mismatch = Questo codice appartiene a un altro dispositivo. Usare quel dispositivo o chiedere un proprio codice alla reception.
denied-no-minutes-left = Il tempo di questo codice è esaurito. Chiederne altro alla reception.
denied-user-limit-reached =
    { $limit ->
        [one] Questo codice è in uso su un altro dispositivo. Disconnettere prima quello.
       *[other] Questo codice è in uso su { $limit } dispositivi, il massimo consentito. Disconnetterne prima uno.
    }

## The login page

login-code = Codice di accesso
login-go = Vai online
login-hint = Inserire il codice così come ricevuto. Senza codice? Chiedere alla reception.
login-terms = Condizioni d’uso
hand-over-ready = Il suo codice è valido. Ancora un tocco e sarà online.
language = Lingua
login-title = Andare online

## The status page

status-online = Connessione attiva
status-offline = Nessuna connessione
status-time-left = Tempo rimasto
status-unlimited = Senza limiti
status-valid-until = Scadenza
status-devices = Dispositivi in uso
status-devices-of = { $devices } su { $limit }
status-warning = Il tempo finisce tra { $time }. Salvare prima il proprio lavoro.
status-log-out = Disconnetti
status-continue = Continua su { $host }

## The logout page

logout-done = Disconnessione eseguita
logout-kept = Il tempo rimasto sul codice è conservato per la prossima volta.
logout-pending = È stato chiesto al WiFi di disconnetterla. Può volerci un minuto.
logout-impossible = Da qui questo dispositivo non si può disconnettere. Resta connesso finché non lascia il WiFi.
logout-again = Torna online

## The error page

error-title = Non ha funzionato
error-not-from-router = Questa pagina va aperta dalla pagina di accesso del WiFi. Connettersi di nuovo al WiFi.
error-unknown-router = Il router di questo WiFi non è conosciuto da questa pagina. Avvisare la reception.
error-go-to-router = Apri l’accesso del WiFi

## What the router says went wrong

router-timeout = Il WiFi non ha risposto in tempo. Riprovare.
router-chap-missing = L’accesso non è arrivato al WiFi. Riprovare.
router-refused = Il WiFi non ha accettato l’accesso. Riprovare.

## Devices in use, and taking over a place

devices-title = Dispositivi in uso
devices-hint = Per andare online qui, scegliere un dispositivo da disconnettere.
devices-ending = Dispositivo che termina con { $end }
devices-use-here = Usa qui invece
devices-since = dalle ore { $time }
devices-since-date = dal giorno { $date }

## Durations

duration-hours =
    { $hours ->
        [one] { $hours } ora
       *[other] { $hours } ore
    }
duration-minutes =
    { $minutes ->
        [one] { $minutes } minuto
       *[other] { $minutes } minuti
    }
duration-hours-minutes = { duration-hours } e { duration-minutes }
duration-moments = meno di 1 minuto

## Dates

time = { $clock }
date = { $day } { month } alle ore { time }
date-with-year = { $day } { month } { $year } alle ore { time }
month =
    { $month ->
        [1] gennaio
        [2] febbraio
        [3] marzo
        [4] aprile
        [5] maggio
        [6] giugno
        [7] luglio
        [8] agosto
        [9] settembre
        [10] ottobre
        [11] novembre
       *[12] dicembre
    }

## The router's own pages

page-continue = Continua
page-javascript = Per andare online da qui, attivare JavaScript in questo browser.
router-fault = Il WiFi ha un guasto. Avvisare la reception.
router-no-address = Il WiFi non ha più indirizzi per questo dispositivo. Riprovare tra qualche minuto.
router-restarting = Il WiFi si sta riavviando. Riprovare tra qualche minuto.
router-devices = Questo codice è già in uso su tutti i dispositivi che consente. Disconnettersi prima da uno di essi.
router-full = Il WiFi non accetta altri dispositivi in questo momento. Riprovare tra qualche minuto.
router-in-progress = L’accesso è ancora in corso di verifica. Attendere un momento, poi riprovare.
